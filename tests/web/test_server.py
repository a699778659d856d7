"""Under the real server: bodies over the limit, broken connections, open streams, one process with threads."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.jobs.ledger import JobLedger
from infra.runtime.settings import Settings
from tests.web.conftest import Served, recognition_result
from tests.web.serving import ask, create, serving


def test_bodies_over_the_limit_get_their_answer(base_url: str) -> None:
    """Also without a Content-Length, and when the client insists on sending it all first."""
    json_body = {"Content-Type": "application/json"}
    for body, headers in (
        (b"[" * 390_000, json_body),
        ((b"[" * 10_000 for _ in range(39)), {**json_body, "Transfer-Encoding": "chunked"}),
    ):
        status, answer = ask(base_url, "POST", "/v1/recognitions", body, **headers)
        assert (status, json.loads(answer)["code"]) == (413, "body_too_large")


def test_the_connection_serves_on_after_a_refused_body(base_url: str) -> None:
    """However large: a connection that is closed unannounced costs the client its next request."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=20)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("POST", "/v1/recognitions", bytes(3_000_000), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.status == 413
            response.read()
        sock = connection.sock
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        assert connection.sock is sock


def test_a_refusal_before_the_body_was_read_arrives(base_url: str) -> None:
    for path, headers, code in (
        ("/v1/recognitions", {"Content-Type": "image/jpeg"}, "unsupported_media_type"),
        ("/v1/nothing", {"Content-Type": "image/jpeg"}, "route_not_found"),
    ):
        _, answer = ask(base_url, "POST", path, bytes(190_000), **headers)
        assert json.loads(answer)["code"] == code


def test_a_refused_client_that_stops_sending_holds_no_thread(base_url: str) -> None:
    host, port = urlsplit(base_url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        head = "POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n"
        connection.sendall(head.encode() + b"[" * 100)
        assert connection.recv(64).startswith(b"HTTP/1.1 404")


def test_a_client_that_goes_away_mid_upload_hurts_nobody(base_url: str, shared: Served) -> None:
    host, port = urlsplit(base_url).netloc.split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = "POST /v1/recognitions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
        connection.sendall(head.encode() + b"[" * 100)
    assert ask(base_url, "GET", "/healthz")[0] == 200
    assert "Traceback" not in shared.log.read_text()


def test_open_streams_leave_room_for_others_and_end_with_their_job(base_url: str, ledger: JobLedger) -> None:
    job_id = create(ledger)
    connections = [http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=20) for _ in range(4)]
    streams = []
    for connection in connections:
        connection.request("GET", f"/v1/recognitions/{job_id}/events")
        streams.append(connection.getresponse())
    started = time.monotonic()
    assert ask(base_url, "GET", f"/v1/recognitions/{job_id}")[0] == 200
    assert time.monotonic() - started < 2
    lease = ledger.start(job_id)
    assert lease is not None
    assert ledger.succeed(lease, recognition_result())
    for stream, connection in zip(streams, connections, strict=True):
        text = stream.read().decode()
        assert text.count("event: completed") == 1
        connection.close()


def test_the_last_threads_are_kept_for_short_answers(own_url: str, ledger: JobLedger) -> None:
    job_id = create(ledger)
    connections = [http.client.HTTPConnection(urlsplit(own_url).netloc, timeout=20) for _ in range(6)]
    for connection in connections:
        connection.request("GET", f"/v1/recognitions/{job_id}/events")
        assert connection.getresponse().status == 200
    started = time.monotonic()
    _, stream = ask(own_url, "GET", f"/v1/recognitions/{job_id}/events")  # it reports what is, and ends
    assert b"event: status\ndata:" in stream
    assert ask(own_url, "GET", f"/v1/recognitions/{job_id}", Prefer="wait=20")[0] == 200  # without the wait
    assert ask(own_url, "GET", "/healthz")[0] == 200
    assert time.monotonic() - started < 5
    for connection in connections:
        connection.close()
    lease = ledger.start(job_id)
    assert lease is not None
    assert ledger.succeed(lease, recognition_result())
    deadline = time.monotonic() + 10
    while b"id: " not in ask(own_url, "GET", f"/v1/recognitions/{job_id}/events")[1]:  # the places are given back
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_log_is_json_and_names_what_failed(small: Settings, tmp_path: Path) -> None:
    lost = replace(small, redis_url="unix:///nonexistent/redis.sock")
    with serving(lost, tmp_path / "lost.log") as base_url:
        status, answer = ask(
            base_url, "GET", "/v1/recognitions/rec_00000000000000000000000000", **{"X-Request-Id": "find-me"}
        )
    assert (status, json.loads(answer)["code"]) == (503, "redis_unavailable")
    lines = [json.loads(line) for line in (tmp_path / "lost.log").read_text().splitlines()]
    assert any(line.get("request_id") == "find-me" and "exception" in line for line in lines)


def test_urls_of_silent_hosts_hold_no_request_up(small: Settings, tmp_path: Path) -> None:
    """Neither a host that takes connections and says nothing nor one behind a name that nobody resolves is called here."""
    open_mind = replace(small, web=replace(small.web, allowed_hosts=("127.0.0.1",), threads=4))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(open_mind, tmp_path / "web.log") as base_url,
        ThreadPoolExecutor(4) as clients,
    ):
        silent.settimeout(0)
        assert (
            ask(base_url, "POST", "/v1/galleries", b'{"name": "drinks"}', **{"Content-Type": "application/json"})[0]
            == 201
        )
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.jpg"
        body = json.dumps({"gallery": "drinks", "image": {"url": url}}).encode()
        started = time.monotonic()
        posts = [
            clients.submit(ask, base_url, "POST", "/v1/recognitions", body, **{"Content-Type": "application/json"})
            for _ in range(4)
        ]
        assert ask(base_url, "GET", "/healthz")[0] == 200
        assert [post.result()[0] for post in posts] == [202] * 4
        assert time.monotonic() - started < small.web.url_timeout_s / 2
        with pytest.raises(BlockingIOError):
            silent.accept()


UNREADABLE = [
    (b"GET /v1/galleries?x=" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "request_line_too_long"),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: " + b"c" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    (b"what is this\r\n\r\n", 400, "request_unreadable"),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400, "request_unreadable"),
]


def test_what_the_server_cannot_read_is_refused_as_a_problem_too(base_url: str) -> None:
    host, port = urlsplit(base_url).netloc.split(":")
    for head, status, code in UNREADABLE:
        with socket.create_connection((host, int(port)), timeout=15) as connection:
            connection.sendall(head)
            response = http.client.HTTPResponse(connection)
            response.begin()
            report = json.loads(response.read())
        assert (response.status, report["code"], report["status"]) == (status, code, status), head[:40]
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["X-Request-Id"] == report["request_id"]
    assert ask(base_url, "GET", "/healthz")[0] == 200

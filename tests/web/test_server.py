"""Under the real server: bodies over the limit, broken connections, open streams, one process with threads."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import math
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from infra.stack.commands import web_command
from PIL import Image

from infra.jobs.ledger import JobLedger, open_ledger
from infra.runtime.settings import Settings
from tests.web.conftest import recognition_result

UPLOAD_S = 1.2
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(settings: Settings, log: Path) -> Iterator[str]:
    """The base URL of the web process as it really runs; it must end by itself when told to."""
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as out:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            web_command(settings, bind=f"fd://{listener.fileno()}"),
            cwd=ROOT,
            env={**os.environ, **settings.to_env(), "OMP_NUM_THREADS": "1"},
            pass_fds=(listener.fileno(),),
            stdout=out,
            stderr=out,
        )
        try:
            base_url = f"http://127.0.0.1:{port}"
            wait_until_live(base_url, process, log)
            yield base_url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_live(base_url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended:\n{log.read_text()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(base_url, "GET", "/healthz")[0] == 200:
                return
    pytest.fail(f"the server does not answer:\n{log.read_text()}")


def ask(base_url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))
        response = connection.getresponse()
        return response.status, response.read()


@pytest.fixture
def small(settings: Settings) -> Settings:
    return replace(settings, web=replace(settings.web, max_body_bytes=200_000, threads=8))


@pytest.fixture
def base_url(small: Settings, tmp_path: Path) -> Iterator[str]:
    with serving(small, tmp_path / "web.log") as url:
        yield url


@pytest.fixture
def hasty_url(small: Settings, tmp_path: Path) -> Iterator[str]:
    """A server that gives an upload little time."""
    hasty = replace(small, web=replace(small.web, upload_timeout_s=UPLOAD_S))
    with serving(hasty, tmp_path / "web.log") as url:
        yield url


@pytest.fixture
def ledger(small: Settings) -> JobLedger:
    return open_ledger(small)


def create(ledger: JobLedger) -> str:
    return ledger.create("recognition", {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}).id


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
        head = "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
        connection.sendall(head.encode() + b"[" * 100)
        assert connection.recv(64).startswith(b"HTTP/1.1 404")


def test_a_client_that_goes_away_mid_upload_hurts_nobody(base_url: str, tmp_path: Path) -> None:
    host, port = urlsplit(base_url).netloc.split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = "POST /v1/recognitions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
        connection.sendall(head.encode() + b"[" * 100)
    assert ask(base_url, "GET", "/healthz")[0] == 200
    assert "Traceback" not in (tmp_path / "web.log").read_text()


@contextlib.contextmanager
def trickling(base_url: str, head: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Connections that send `head` and then a byte each tenth of a second, until they are cut off."""
    host, port = urlsplit(base_url).netloc.split(":")
    stop = threading.Event()
    connections = [socket.create_connection((host, int(port)), timeout=15) for _ in range(count)]

    def send() -> None:
        while not stop.wait(0.1):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")

    for connection in connections:
        connection.sendall(head)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield connections
    finally:
        stop.set()
        thread.join()
        for connection in connections:
            connection.close()


def upload_head(content_type: str, framing: str) -> bytes:
    head = f"POST /v1/recognitions HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n"
    return head.encode()


FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
SLOW = {
    "form": upload_head("multipart/form-data; boundary=b", "Content-Length: 150000") + FORM,
    "json": upload_head("application/json", "Content-Length: 9000") + b"[",
    "chunks": upload_head("application/json", "Transfer-Encoding: chunked") + b"2000\r\n[",
    "refused": upload_head("image/jpeg", "Content-Length: 9000"),  # its answer does not wait for the body
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_client_that_trickles_its_upload_is_cut_off(hasty_url: str, kind: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with trickling(hasty_url, SLOW[kind], 1) as (connection,):
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # the other side closed with bytes of ours unread
            while received := connection.recv(65536):
                answer += received
        took_s = time.monotonic() - started
    head, _, body = answer.partition(b"\r\n\r\n")
    expected = (415, "unsupported_media_type") if kind == "refused" else (408, "upload_too_slow")
    assert head.startswith(f"HTTP/1.1 {expected[0]}".encode()), answer
    assert json.loads(body)["code"] == expected[1]
    assert UPLOAD_S - 0.5 <= took_s < UPLOAD_S + 6
    assert "Traceback" not in (tmp_path / "web.log").read_text()


def send_slowly(base_url: str, piece_bytes: int, pieces: int) -> tuple[int, str]:
    """Status and code of an answer to an upload that brings a piece each tenth of a second, until it is cut off."""
    host, port = urlsplit(base_url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.sendall(upload_head("application/json", f"Content-Length: {piece_bytes * pieces}"))
        with contextlib.suppress(OSError):  # cut off on the way
            for _ in range(pieces):
                connection.sendall(b"[" * piece_bytes)
                if select.select([connection], [], [], 0.1)[0]:
                    break
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())["code"]


def test_a_slow_line_may_take_its_time_and_a_slower_one_is_cut_off(hasty_url: str) -> None:
    """Both take longer than the window; 8 KiB a second are wanted."""
    with ThreadPoolExecutor() as clients:
        slow = clients.submit(send_slowly, hasty_url, 2500, int(25 * UPLOAD_S))
        slower = clients.submit(send_slowly, hasty_url, 300, int(25 * UPLOAD_S))
        assert slow.result() == (400, "invalid_request")  # it was read whole: 75,000 brackets are no JSON
        assert slower.result() == (408, "upload_too_slow")


def test_fourteen_pictures_over_a_slow_line_are_taken(hasty_url: str) -> None:
    """14 of 3 MB at 5 Mbit/s with a window of 60 s, scaled: the body takes more than two windows."""
    named = {"Content-Type": "application/json"}
    assert ask(hasty_url, "POST", "/v1/galleries", b'{"name": "drinks"}', **named)[0] == 201
    noise = np.random.default_rng(0).integers(0, 255, (14, 70, 70, 3), dtype=np.uint8)
    body = b""
    for number, picture in enumerate(noise):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=95)
        named_so = f'Content-Disposition: form-data; name="images"; filename="{number}.jpg"'
        body += b"--b\r\n" + named_so.encode() + b"\r\n\r\n" + buffer.getvalue() + b"\r\n"
        body += b'--b\r\nContent-Disposition: form-data; name="labels"\r\n\r\n%d\r\n' % number
    body += b"--b--\r\n"
    rate, piece = len(body) / (2.5 * UPLOAD_S), 1024
    assert rate > 8192
    host, port = urlsplit(hasty_url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        head = f"POST /v1/galleries/drinks/items HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode())
        for start in range(0, len(body), piece):
            connection.sendall(body[start : start + piece])
            time.sleep(piece / rate)
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = json.loads(response.read())
    assert response.status == 202, answer
    assert len(answer["request"]["items"]) == 14


def test_when_all_threads_are_busy_the_slowest_uploads_make_room(hasty_url: str) -> None:
    """Eight clients at three times the least speed hold the eight threads, and could for as long as they like."""
    with ThreadPoolExecutor(8) as clients:
        started = time.monotonic()
        slow = [clients.submit(send_slowly, hasty_url, 2500, int(50 * UPLOAD_S)) for _ in range(8)]
        time.sleep(UPLOAD_S / 4)  # until all are under way
        assert ask(hasty_url, "GET", "/healthz")[0] == 200
        assert time.monotonic() - started < 2.5 * UPLOAD_S  # they take five windows of time
        codes = sorted(client.result()[1] for client in slow)
    assert codes.count("upload_too_slow") == 2
    assert codes.count("invalid_request") == 6  # with threads free, the others may take their time


def test_a_client_that_trickles_its_head_is_cut_off(hasty_url: str) -> None:
    with trickling(hasty_url, b"GET /healthz HTTP/1.1\r\nX-Slow: ", 1) as (connection,):
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(64) == b""
        assert time.monotonic() - started < UPLOAD_S + 6


def test_others_are_answered_while_and_after_clients_trickle(hasty_url: str) -> None:
    """Some at a time leave threads free; more than there are threads hold them only until they are cut off."""
    with trickling(hasty_url, SLOW["form"], 6):
        started = time.monotonic()
        assert ask(hasty_url, "GET", "/healthz")[0] == 200
        assert time.monotonic() - started < UPLOAD_S / 2
    with trickling(hasty_url, SLOW["form"], 8):
        started = time.monotonic()
        assert ask(hasty_url, "GET", "/healthz")[0] == 200
        assert time.monotonic() - started < UPLOAD_S + 6


def test_waiting_longer_than_an_upload_may_take_is_no_slow_upload(hasty_url: str, ledger: JobLedger) -> None:
    job_id = create(ledger)
    connection = http.client.HTTPConnection(urlsplit(hasty_url).netloc, timeout=20)
    with contextlib.closing(connection):
        wait = {"Prefer": f"wait={math.ceil(UPLOAD_S) + 1}"}
        connection.request("GET", f"/v1/recognitions/{job_id}", headers=wait)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        sock = connection.sock
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        assert connection.sock is sock


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


def test_the_last_threads_are_kept_for_short_answers(base_url: str, ledger: JobLedger) -> None:
    job_id = create(ledger)
    connections = [http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=20) for _ in range(6)]
    for connection in connections:
        connection.request("GET", f"/v1/recognitions/{job_id}/events")
        assert connection.getresponse().status == 200
    started = time.monotonic()
    _, stream = ask(base_url, "GET", f"/v1/recognitions/{job_id}/events")  # it tells what is, and ends
    assert b"event: status\ndata:" in stream
    assert ask(base_url, "GET", f"/v1/recognitions/{job_id}", Prefer="wait=20")[0] == 200  # without the wait
    assert ask(base_url, "GET", "/healthz")[0] == 200
    assert time.monotonic() - started < 5
    for connection in connections:
        connection.close()
    lease = ledger.start(job_id)
    assert lease is not None
    assert ledger.succeed(lease, recognition_result())
    deadline = time.monotonic() + 10
    while b"id: " not in ask(base_url, "GET", f"/v1/recognitions/{job_id}/events")[1]:  # the places are given back
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
    """Neither a host that takes connections and says nothing nor one behind a name that nobody resolves is asked here."""
    open_mind = replace(small, web=replace(small.web, allow_private_urls=True, threads=4))
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

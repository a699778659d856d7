"""Under the real server: uploads that are slow, and those that stop on their way."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import math
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from infra.jobs.ledger import JobLedger
from infra.runtime.settings import Settings
from tests.web.conftest import Served
from tests.web.serving import UPLOAD_S, ask, create, serving, upload_head

FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'


SLOW = {
    "form": upload_head("multipart/form-data; boundary=b", "Content-Length: 150000") + FORM,
    "json": upload_head("application/json", "Content-Length: 9000") + b"[",
    "chunks": upload_head("application/json", "Transfer-Encoding: chunked") + b"2000\r\n[",
    "refused": upload_head("image/jpeg", "Content-Length: 9000"),  # its answer does not wait for the body
}


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


@pytest.mark.parametrize("kind", SLOW)
def test_a_client_that_trickles_its_upload_is_cut_off(hasty_url: str, hasty: Served, kind: str) -> None:
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
    assert "Traceback" not in hasty.log.read_text()


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
        head = f"POST /v1/galleries/drinks/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode())
        for start in range(0, len(body), piece):
            connection.sendall(body[start : start + piece])
            time.sleep(piece / rate)
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = json.loads(response.read())
    assert response.status == 202, answer
    assert len(answer["request"]["items"]) == 14


def test_when_all_threads_are_busy_the_slowest_uploads_make_room(small: Settings, tmp_path: Path) -> None:
    """Eight clients at three times the least speed hold the eight threads, and could for as long as they like."""
    hasty = replace(small, web=replace(small.web, upload_timeout_s=UPLOAD_S))
    with serving(hasty, tmp_path / "web.log") as own_url, ThreadPoolExecutor(8) as clients:
        started = time.monotonic()
        slow = [clients.submit(send_slowly, own_url, 2500, int(50 * UPLOAD_S)) for _ in range(8)]
        time.sleep(UPLOAD_S / 4)  # until all are under way
        assert ask(own_url, "GET", "/healthz")[0] == 200
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

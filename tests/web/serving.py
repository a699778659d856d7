"""The web process as it really runs, and plain requests to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.jobs.ledger import JobLedger
from infra.runtime.settings import Settings
from infra.stack.commands import web_command

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(settings: Settings, log: Path) -> Iterator[str]:
    """The base URL of the web process as it really runs; it must end by itself on a signal."""
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


def upload_head(content_type: str, framing: str) -> bytes:
    head = f"POST /v1/recognitions HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n"
    return head.encode()


UPLOAD_S = 1.2


def create(ledger: JobLedger) -> str:
    return ledger.create("recognition", {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}).id

"""A running service to measure: on cores of its own where there are several, with a gallery of rendered products."""

import http.server
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import requests

from benchmarks.speed.photos import PRODUCTS, item
from infra.runtime.settings import load_settings
from infra.stack.launcher import Stack

GALLERY = "bench"
VIEWS = 3


@dataclass
class Receiver:
    """Takes webhooks and counts them."""

    url: str
    server: http.server.ThreadingHTTPServer
    taken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Measured:
    """The service, the cores that it has, and where its client runs."""

    stack: Stack
    data_dir: Path
    cores: set[int]
    http: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        return self.stack.base_url

    def cpu_s(self) -> dict[str, float]:
        """Seconds of processor that each process has used so far, with its children."""
        used = {}
        for name, process in self.stack.processes.items():
            if process.pid is None:
                continue
            whole = psutil.Process(process.pid)
            family = [whole, *whole.children(recursive=True)]
            used[name] = sum(sum(one.cpu_times()[:2]) for one in family)
        return used

    def enroll(self, gallery: str, pictures: list[tuple[str, bytes]]) -> float:
        """Adds labelled pictures; gives the seconds until they are all in."""
        started = monotonic()
        answer = self.http.post(
            f"{self.url}/v1/galleries/{gallery}/items",
            data={"labels": [label for label, _ in pictures]},
            files=[("images", (f"{place}.jpg", data)) for place, (_, data) in enumerate(pictures)],
            headers={"Prefer": "wait=30"},
            timeout=60,
        )
        answer.raise_for_status()
        job = answer.json()
        while job["status"] in {"queued", "processing"}:
            job = self.http.get(self.url + job["links"]["self"], headers={"Prefer": "wait=30"}, timeout=60).json()
        if job["status"] != "succeeded" or any(one["status"] != "added" for one in job["result"]["items"]):
            raise RuntimeError(f"the enrolment ended otherwise: {job['error']}")
        return monotonic() - started


@contextmanager
def running(cores: set[int], **changes: str) -> Iterator[Measured]:
    """A fresh service on these cores, its gallery enrolled; the caller's process is put on the other ones."""
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            {
                "SHITU_DATA_DIR": folder,
                "SHITU_WEB__PORT": "0",
                "SHITU_WEBHOOKS__ALLOWED_HOSTS": "127.0.0.1",
                "SHITU_WORKER__CONCURRENCY": str(len(cores)),
                **changes,
            }
        )
        os.sched_setaffinity(0, cores)  # what is started now inherits it
        try:
            with Stack(settings) as stack:
                os.sched_setaffinity(0, before - cores or before)
                service = Measured(stack, Path(folder), cores)
                service.http.post(f"{service.url}/v1/galleries", json={"name": GALLERY}, timeout=10).raise_for_status()
                service.enroll(
                    GALLERY, [(f"p{one}", item(one, view)) for one in range(PRODUCTS) for view in range(VIEWS)]
                )
                yield service
        finally:
            os.sched_setaffinity(0, before)


@contextmanager
def bare(service: Measured, verify: str) -> Iterator[Any]:
    """The pipeline alone on the same cores, one process for each; called with a number of photos it gives the seconds."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, service.cores)
    command = [sys.executable, "-m", "benchmarks.speed.bare", str(service.data_dir), GALLERY, verify]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in service.cores
    ]
    os.sched_setaffinity(0, before)
    try:
        for process in processes:
            _line(process)

        def recognized(count: int) -> float:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{count // len(processes)}\n")
                process.stdin.flush()
            return max(float(_line(process)) for process in processes)

        yield recognized
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _line(process: Any) -> str:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the bare pipeline ended early")
    return str(line)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A server on loopback that takes every webhook."""
    found: list[Receiver] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with found[0].lock:
                found[0].taken += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.append(Receiver(f"http://127.0.0.1:{server.server_port}/", server))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()


def until(condition: Any, within_s: float = 60.0) -> None:
    """Waits for it. Raises TimeoutError."""
    deadline = monotonic() + within_s
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError
        sleep(0.01)

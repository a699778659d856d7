"""A front end that listens in this process, and a thread that does its worker's part through the ledger."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from werkzeug.serving import make_server

from infra.jobs.ledger import JobLedger
from infra.jobs.scripts import OPEN
from infra.redis.client import connect
from tests.web.conftest import recognition_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from infra.jobs.records import Job, Lease
    from infra.runtime.settings import Settings


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """The URL at which `app` answers within."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Hand(threading.Thread):
    """Ends every job, as a worker would: what `result` makes of its kind and request."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        assert settings.redis_url is not None
        self._redis = connect(settings.redis_url)
        self._ledger = JobLedger(self._redis, settings.jobs, settings.webhooks)
        self._ended = threading.Event()
        self.requests: list[dict[str, Any]] = []

    def run(self) -> None:
        while not self._ended.wait(0.01):
            for job_id in self._redis.zrange(OPEN, 0, -1):
                lease = self._ledger.start(job_id)
                if lease is not None:
                    job = self._ledger.get(job_id)
                    self.requests.append(dict(job.request))
                    self._end(job, lease)

    def _end(self, job: Job, lease: Lease) -> None:
        request = job.request
        if job.kind == "recognition":
            result = {**recognition_result(request["gallery"]), "paddleclas": [{"rec_docs": "tea"}]}
            if request["image"]["name"] == "bad.jpg":
                error = {"code": "image_truncated", "message": "The file is cut short.", "retryable": False}
                self._ledger.fail(lease, error)
                return
        elif job.kind == "detection":
            result = {"detections": [{"box": [1, 2, 30, 40], "confidence": 0.87654}], "timings_ms": {"total": 7.04}}
        elif job.kind == "embedding":
            embedding = None if request["image"]["name"] == "black.jpg" else [0.6, 0.8]
            result = {"dim": 2, "embeddings": [{"box": [0, 0, 9, 9], "embedding": embedding}]}
        elif job.kind == "classification":
            classes = [{"class_id": 7, "label": "tea", "score": 0.9}, {"class_id": 1, "label": "cola", "score": 0.1}]
            result = {"classifications": [{"box": [0, 0, 9, 9], "classes": classes}]}
        else:
            result = {
                "items": [{**item, "status": "rejected" if "error" in item else "added"} for item in request["items"]]
            }
        self._ledger.succeed(lease, result)

    def stop(self) -> None:
        self._ended.set()
        self.join(10)
        self._redis.close()

"""The worker's part of linting, done by the test itself or by a thread of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

from contracts.jobs import JobKind
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger, open_ledger
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore
from infra.runtime.settings import Settings, load_settings
from models.artifacts.folders import resolve
from models.detector import Detector
from worker.lint_gallery import lint_gallery


class _Programs:
    """Those of a worker: the bundled detector, loaded when it is first used."""

    def __init__(self) -> None:
        self.settings = load_settings({})

    @contextmanager
    def programs(self) -> Iterator[Any]:
        yield SimpleNamespace(detector=_detector())


@cache
def _detector() -> Detector:
    return Detector(resolve("shitu-detector"))


def lint_waiting(ledger: JobLedger, objects: ObjectStore) -> int:
    """Does all lint jobs that wait; how many."""
    done = 0
    while (job_id := ledger.lanes.next(JobKind.LINT)) is not None:
        lease = ledger.start(job_id)
        if lease is not None:
            runtime: Any = _Programs()
            runtime.store, runtime.objects = GalleryStore(objects), objects
            result = lint_gallery(ledger.get(job_id), runtime, lambda _progress=None: None)
            assert ledger.succeed(lease, cast("dict[str, Any]", result))
            done += 1
    return done


@contextmanager
def linting(settings: Settings) -> Iterator[None]:
    """A worker that lints, meanwhile."""
    stop = threading.Event()
    ledger, objects = open_ledger(settings), open_store(settings.objects, settings.data_dir)

    def work() -> None:
        while not stop.wait(0.02):
            lint_waiting(ledger, objects)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)

"""The worker's part of linting, done by the test itself or by a thread of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from contracts.jobs import JobKind
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger, open_ledger
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore
from infra.runtime.settings import Settings
from worker.lint_gallery import lint_gallery


def lint_waiting(ledger: JobLedger, objects: ObjectStore) -> int:
    """Does all lint jobs that wait; how many."""
    done = 0
    while (job_id := ledger.lanes.next(JobKind.LINT)) is not None:
        lease = ledger.start(job_id)
        if lease is not None:
            runtime: Any = SimpleNamespace(store=GalleryStore(objects), objects=objects)
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

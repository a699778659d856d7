"""A message wakes a worker; which job it does is the lanes' to say, and every job is done by some message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from contracts.jobs import JobKind, Priority
from infra.jobs.records import Job, JobStatus
from infra.jobs.terms import Terms
from infra.runtime.settings import Settings
from worker.process import Process, set_current
from worker.runtime import Runtime
from worker.tasks import run

REQUEST = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}


@pytest.fixture
def process(process: Process, settings: Settings) -> Iterator[Process]:
    """One with something for its models' side, as a task's."""
    process._runtime = cast("Runtime", object())
    set_current(process)
    yield process
    set_current(None)


def create(process: Process, priority: Priority = "normal") -> str:
    return process.ledger.create("recognition", REQUEST, terms=Terms(priority=priority)).id


def test_messages_of_any_jobs_do_all_of_them_the_urgent_first(process: Process) -> None:
    done: list[str] = []

    def answer(job: Job, _runtime: Runtime, _checkpoint: Any) -> dict[str, Any]:
        done.append(job.id)
        return {"recognitions": []}

    low, normal, high = (create(process, one) for one in ("low", "normal", "high"))
    for message in (low, normal, high):
        run(JobKind.RECOGNITION, message, answer)
    assert done == [high, normal, low]
    run(JobKind.RECOGNITION, low, answer)  # a copy that comes late
    assert len(done) == 3


def test_a_canceled_job_costs_no_message(process: Process) -> None:
    """What left its lane and cannot be started leaves the message to the next one."""
    done: list[str] = []

    def answer(job: Job, _runtime: Runtime, _checkpoint: Any) -> dict[str, Any]:
        done.append(job.id)
        return {}

    first, second = create(process, "high"), create(process)
    lease = process.ledger.start(first)  # by another worker, that read the lanes before
    assert lease is not None
    run(JobKind.RECOGNITION, first, answer)
    assert done == [second]
    assert process.ledger.get(first).status is JobStatus.PROCESSING

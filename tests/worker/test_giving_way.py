"""A long job lets quicker ones go first, loses nothing by it, and is not blamed for it."""

from __future__ import annotations

from typing import Any

from infra.jobs.records import JobStatus
from worker.attempt import attempt
from worker.import_gallery import others_wait
from worker.lease_keeper import GIVES_WAY, StopWork
from worker.process import Process


def test_a_job_that_gives_way_is_queued_again_without_a_cost(process: Process) -> None:
    ledger = process.ledger
    job = ledger.create("import", {"gallery": "drinks"})

    def gives_way(_job: Any, checkpoint: Any) -> dict[str, Any]:
        checkpoint({"done": 64, "total": 100, "rejected": 0})
        raise StopWork(GIVES_WAY)

    for _ in range(5):  # more than it has attempts
        assert attempt(job.id, gives_way, process)
        report = ledger.get(job.id)
        assert (report.status, report.attempts) == (JobStatus.QUEUED, 0)
    assert ledger.lanes.next(job.kind) == job.id  # at once, not when its deadline has passed
    assert ledger.stats().messages["import"] == 5


def test_only_quicker_jobs_that_wait_are_let_before(process: Process) -> None:
    ledger = process.ledger
    ledger.create("import", {"gallery": "drinks"})
    process.queue.canary("recognize")  # no job
    assert not others_wait(ledger)
    ledger.create("recognition", {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}})
    assert others_wait(ledger)

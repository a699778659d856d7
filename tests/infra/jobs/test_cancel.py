"""A canceled job stays canceled, whatever its worker does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.errors.jobs import JobFinished
from infra.jobs.ledger import JobLedger, JobStatus, Lease, Renewal
from tests.infra.clock import Clock
from tests.infra.ledgers import REQUEST, RecordingQueue, started


def test_cancel_a_queued_job(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST, "https://example.com/hook")
    canceled = ledger.cancel(job.id)
    assert canceled.status is JobStatus.CANCELED
    assert ledger.cancel(job.id) == canceled
    assert ledger.start(job.id) is None
    assert len(ledger.deliveries.due()) == 1
    assert (ledger.stats().queued, ledger.sweeper.overdue(10**11)) == (0, [])


def test_cancel_a_running_job(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    canceling = ledger.cancel(job.id)
    assert (canceling.status, canceling.cancel_requested) == (JobStatus.PROCESSING, True)
    renewal = ledger.renew(lease)
    assert renewal is Renewal.CANCEL_REQUESTED
    assert not renewal
    assert ledger.finish_canceled(lease)
    assert ledger.get(job.id).status is JobStatus.CANCELED


def test_a_result_after_the_cancel_is_dropped(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    ledger.cancel(job.id)
    assert not ledger.succeed(lease, {"too": "late"})
    canceled = ledger.get(job.id)
    assert (canceled.status, canceled.result) == (JobStatus.CANCELED, None)


@pytest.mark.parametrize("how", ["release", "sweep", "start"])
def test_a_canceled_job_whose_worker_stops_is_not_run_again(ledger: JobLedger, clock: Clock, how: str) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    ledger.cancel(job.id)
    if how == "release":
        assert ledger.release(lease)
    clock.pass_s(31)
    if how == "sweep":
        assert ledger.sweeper.sweep(RecordingQueue()).canceled == (job.id,)
    if how == "start":
        assert ledger.start(job.id) is None
    assert ledger.get(job.id).status is JobStatus.CANCELED


def test_a_finished_job_cannot_be_canceled(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    ledger.fail(started(ledger, job), {"code": "image_truncated", "message": "…", "retryable": False})
    with pytest.raises(JobFinished, match="already failed"):
        ledger.cancel(job.id)


def test_cancel_and_success_race_to_one_end(ledger: JobLedger) -> None:
    for _ in range(20):
        job = ledger.create("recognition", REQUEST)
        lease = started(ledger, job)
        gate = threading.Barrier(2)

        def cancel(job_id: str, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            try:
                ledger.cancel(job_id)
            except JobFinished:
                return False
            return True

        def succeed(lease: Lease, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            return ledger.succeed(lease, {})

        with ThreadPoolExecutor(2) as pool:
            canceled, succeeded = pool.submit(cancel, job.id), pool.submit(succeed, lease)
        assert canceled.result() != succeeded.result()
        assert ledger.get(job.id).status == ("canceled" if canceled.result() else "succeeded")

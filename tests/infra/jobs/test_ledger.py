"""The ledger on a real Redis: accepted jobs end exactly once, whatever their workers do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from infra.errors.jobs import JobExpired, JobNotFound
from infra.jobs.ledger import JobLedger, JobStatus, Lease, Renewal, open_ledger
from infra.jobs.records import JOB_ID, new_id
from infra.runtime.settings import Settings
from tests.infra.clock import Clock
from tests.infra.ledgers import REQUEST, started


def test_the_whole_life_of_a_job(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    assert JOB_ID.fullmatch(job.id)
    assert (job.status, job.created_at, job.attempts) == (JobStatus.QUEUED, clock.at, 0)
    clock.pass_s(2)
    lease = started(ledger, job)
    assert (lease.token, lease.attempt, lease.expires_at, lease.last) == (1, 1, clock.at + 30, False)
    assert ledger.get(job.id).status is JobStatus.PROCESSING
    clock.pass_s(1)
    assert ledger.succeed(lease, {"recognitions": []})
    done = ledger.get(job.id)
    assert done.finished
    assert (done.started_at, done.completed_at, done.expires_at) == (clock.at - 1, clock.at, clock.at + 1000)
    assert done.result == {"recognitions": []}
    assert ledger.start(job.id) is None
    assert ledger.sweeper.overdue(clock.at + 10**6) == []


def test_the_json_of_a_job(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST, "https://example.com/hook")
    assert job.to_dict() == {
        "id": job.id,
        "kind": "recognition",
        "status": "queued",
        "created_at": "2027-01-15T08:00:00.000Z",
        "started_at": None,
        "completed_at": None,
        "expires_at": None,
        "attempts": 0,
        "cancel_requested": False,
        "progress": None,
        "links": {
            "self": f"/v1/recognitions/{job.id}",
            "cancel": f"/v1/recognitions/{job.id}/cancel",
            "events": f"/v1/recognitions/{job.id}/events",
        },
        "request": REQUEST,
        "result": None,
        "error": None,
        "webhook": {
            "url": "https://example.com/hook",
            "status": "pending",
            "attempts": 0,
            "last_status": None,
            "id": None,
        },
        "metadata": {},
        "cancel_at": None,
        "priority": "normal",
        "batch": None,
        "trace_id": None,
    }
    assert ledger.get(job.id) == job
    enrolment = ledger.create("enrollment", {})
    assert enrolment.id.startswith("enr_")
    assert enrolment.to_dict()["links"]["self"] == f"/v1/enrollments/{enrolment.id}"


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id("rec", at) for at in (1.0, 2.0, 1_800_000_000.0, 1_800_000_000.001)]
    assert ids == sorted(ids)
    assert len({new_id("rec", 1.0) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("job_id", ["", "rec_", "rec_" + "z" * 26, "job_" + "0" * 26, "rec_" + "0" * 25 + "\n", "*"])
def test_what_is_no_id_is_not_found(ledger: JobLedger, job_id: str) -> None:
    assert ledger.start(job_id) is None
    for ask in (ledger.get, ledger.cancel, ledger.replay, ledger.events):
        with pytest.raises(JobNotFound):
            ask(job_id)
    with pytest.raises(JobNotFound):
        ledger.wait(job_id, 0)


def test_only_one_of_many_gets_the_lease(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    gate = threading.Barrier(8)

    def race(_: int) -> Lease | None:
        gate.wait()
        return ledger.start(job.id)

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(race, range(8)) if lease]
    assert len(leases) == 1
    assert ledger.get(job.id).attempts == 1


def test_a_second_run_cannot_overwrite(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    slow = started(ledger, job)
    clock.pass_s(30)
    quick = started(ledger, job)  # the first one's lease has lapsed
    assert (quick.token, quick.attempt) == (2, 2)
    assert ledger.renew(slow) is Renewal.LOST
    assert not ledger.succeed(slow, {"from": "slow"})
    assert not ledger.fail(slow, {"code": "late"})
    assert not ledger.release(slow)
    assert not ledger.finish_canceled(slow)
    assert ledger.succeed(quick, {"from": "quick"})
    assert not ledger.succeed(slow, {"from": "slow"})
    assert ledger.get(job.id).result == {"from": "quick"}


def test_ending_twice_with_the_same_lease_is_one_end(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST, "https://example.com/hook")
    lease = started(ledger, job)
    assert ledger.succeed(lease, {"n": 1})
    assert ledger.succeed(lease, {"n": 2})  # a repeated write after a lost reply
    assert ledger.get(job.id).result == {"n": 1}
    assert not ledger.fail(lease, {"code": "x"})
    assert len(ledger.deliveries.due()) == 1
    assert ledger.stats().finished == {("recognition", "succeeded"): 1}


def test_a_renewed_lease_does_not_lapse(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    for _ in range(5):
        clock.pass_s(20)
        assert ledger.renew(lease)
        assert ledger.start(job.id) is None
        assert ledger.sweeper.overdue() == []
    assert ledger.succeed(lease, {})


def test_a_result_that_is_no_json_is_refused(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    with pytest.raises(ValueError, match="JSON"):
        ledger.succeed(lease, {"similarity": float("nan")})
    assert ledger.fail(lease, {"code": "internal_error", "message": "…", "retryable": True})


def test_a_record_expires_to_a_tombstone_and_then_to_nothing(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    job, open_job = ledger.create("recognition", REQUEST), ledger.create("recognition", REQUEST)
    ledger.succeed(started(ledger, job), {})
    clock.pass_s(999)
    assert ledger.sweeper.retire() == ()
    clock.pass_s(1)
    assert ledger.sweeper.retire() == (job.id,)
    for ask in (ledger.get, ledger.cancel, ledger.replay):
        with pytest.raises(JobExpired):
            ask(job.id)
    assert ledger.start(job.id) is None
    assert ledger.get(open_job.id).status is JobStatus.QUEUED
    key = f"shitu:tombstone:{job.id}"
    assert 4_000_000 < int(redis_client.pttl(key)) <= 5_000_000
    redis_client.delete(key)  # as its time to live would
    with pytest.raises(JobNotFound):
        ledger.get(job.id)
    assert list(redis_client.scan_iter(f"*{job.id}*")) == []


def test_redis_own_clock_is_the_default(settings: Settings) -> None:
    ledger = open_ledger(settings)
    assert abs(ledger.time() - time.time()) < 60
    assert abs(ledger.create("recognition", REQUEST).created_at - time.time()) < 60

"""The ledger on a real Redis: accepted jobs end exactly once, whatever their workers do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from infra.errors import InvalidCursor, JobExpired, JobFinished, JobNotFound
from infra.job_records import JOB_ID, new_id
from infra.jobs import Job, JobEvent, JobLedger, JobStatus, Lease, Renewal, open_ledger
from infra.redis_client import connect
from infra.redis_server import RedisServer
from infra.settings import JobSettings, Settings, WebhookSettings
from tests.infra.clock import Clock
from tests.infra.durable import wait_until_written

JOBS = JobSettings(lease_s=30, queued_deadline_s=120, max_attempts=3, retention_s=1000, tombstone_s=5000)
REQUEST = {"gallery": "drinks", "image": {"key": "images/ab/abc"}, "options": {}}


@dataclass
class RecordingQueue:
    """Remembers what was published, where Celery would carry it."""

    published: list[tuple[str, str]] = field(default_factory=list)

    def recognize(self, job_id: str) -> bool:
        self.published.append(("recognize", job_id))
        return True

    def enroll(self, job_id: str) -> bool:
        self.published.append(("enroll", job_id))
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JOBS, WebhookSettings(), now=clock)


def started(ledger: JobLedger, job: Job) -> Lease:
    lease = ledger.start(job.id)
    assert lease is not None
    return lease


def events(ledger: JobLedger, job_id: str, last_id: str = "0-0") -> list[JobEvent]:
    return [event for event in ledger.events(job_id, last_id) if event is not None]


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
    assert ledger.overdue(clock.at + 10**6) == []


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
    assert len(ledger.due_deliveries()) == 1
    assert ledger.stats().finished == {("recognition", "succeeded"): 1}


def test_a_renewed_lease_does_not_lapse(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    for _ in range(5):
        clock.pass_s(20)
        assert ledger.renew(lease)
        assert ledger.start(job.id) is None
        assert ledger.overdue() == []
    assert ledger.succeed(lease, {})


def test_sweeping_brings_back_what_was_swallowed(ledger: JobLedger, clock: Clock) -> None:
    queue = RecordingQueue()
    recognition, enrolment = ledger.create("recognition", REQUEST), ledger.create("enrollment", {})
    assert ledger.sweep(queue).republished == ()
    clock.pass_s(120)
    assert set(ledger.sweep(queue).republished) == {recognition.id, enrolment.id}
    assert sorted(queue.published) == [("enroll", enrolment.id), ("recognize", recognition.id)]
    # The same moment, another keeper: nothing twice.
    assert ledger.sweep(queue).republished == ()
    # A job that waits rightly is published at growing intervals: after 240 s more, not after 120.
    clock.pass_s(121)
    assert ledger.sweep(queue).republished == ()
    clock.pass_s(120)
    assert len(ledger.sweep(queue).republished) == 2


def test_keepers_side_by_side_publish_once(ledger: JobLedger, clock: Clock) -> None:
    jobs = [ledger.create("recognition", REQUEST) for _ in range(20)]
    clock.pass_s(200)
    queue = RecordingQueue()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ledger.sweep(queue), range(4)))
    assert sorted(job_id for _, job_id in queue.published) == sorted(job.id for job in jobs)


def test_a_dead_workers_job_is_queued_again(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    dead = started(ledger, job)
    clock.pass_s(30)
    queue = RecordingQueue()
    assert ledger.sweep(queue).republished == (job.id,)
    assert ledger.get(job.id).status is JobStatus.QUEUED
    assert ledger.renew(dead) is Renewal.LOST
    assert not ledger.succeed(dead, {})
    assert started(ledger, job).attempt == 2


def test_a_job_that_kills_its_workers_fails_and_can_be_replayed(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    queue = RecordingQueue()
    for attempt in (1, 2, 3):
        lease = started(ledger, job)
        assert (lease.attempt, lease.last) == (attempt, attempt == 3)
        clock.pass_s(31)
        swept = ledger.sweep(queue)
    assert swept.poisoned == (job.id,)
    failed = ledger.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "job_poisoned"
    assert "3 attempts" in failed.error["message"]

    again = ledger.replay(job.id)
    assert (again.status, again.attempts, again.error, again.completed_at) == (JobStatus.QUEUED, 0, None, None)
    assert ledger.sweep(queue, clock.at).republished == (job.id,)  # even if its publisher died
    lease = started(ledger, job)
    assert lease.token == 4  # tokens go on growing
    assert ledger.succeed(lease, {"ok": True})
    assert [event.status for event in events(ledger, job.id)] == ["queued", "processing", "succeeded"]
    with pytest.raises(JobFinished, match="Only a failed job"):
        ledger.replay(job.id)


def test_a_result_that_is_no_json_is_refused(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    with pytest.raises(ValueError, match="JSON"):
        ledger.succeed(lease, {"similarity": float("nan")})
    assert ledger.fail(lease, {"code": "internal_error", "message": "…", "retryable": True})


def test_an_open_entry_without_a_record_is_dropped(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    job = ledger.create("recognition", REQUEST)
    redis_client.delete(f"shitu:job:{job.id}")
    clock.pass_s(500)
    queue = RecordingQueue()
    assert ledger.sweep(queue).republished == ()
    assert queue.published == []
    assert ledger.stats().queued == 0


def test_start_refuses_a_poisoned_job_that_no_sweeper_saw(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    for _ in range(3):
        started(ledger, job)
        clock.pass_s(31)
    assert ledger.start(job.id) is None
    assert ledger.get(job.id).status is JobStatus.FAILED


def test_release_gives_back_now_or_later(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    queue = RecordingQueue()
    assert ledger.release(started(ledger, job), counted=False)  # told to stop: not the job's fault
    assert ledger.get(job.id).attempts == 0
    assert ledger.overdue() == [job.id]
    assert ledger.release(started(ledger, job), delay_s=60)
    assert ledger.overdue() == []
    clock.pass_s(60)
    assert ledger.sweep(queue).republished == (job.id,)
    assert ledger.release(started(ledger, job))
    assert ledger.release(started(ledger, job))  # the third and last attempt
    assert ledger.get(job.id).status is JobStatus.FAILED


def test_cancel_a_queued_job(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST, "https://example.com/hook")
    canceled = ledger.cancel(job.id)
    assert canceled.status is JobStatus.CANCELED
    assert ledger.cancel(job.id) == canceled
    assert ledger.start(job.id) is None
    assert len(ledger.due_deliveries()) == 1
    assert (ledger.stats().queued, ledger.overdue(10**11)) == (0, [])


def test_cancel_a_running_job(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    asked = ledger.cancel(job.id)
    assert (asked.status, asked.cancel_requested) == (JobStatus.PROCESSING, True)
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
        assert ledger.sweep(RecordingQueue()).canceled == (job.id,)
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


def test_a_record_expires_to_a_tombstone_and_then_to_nothing(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    job, open_job = ledger.create("recognition", REQUEST), ledger.create("recognition", REQUEST)
    ledger.succeed(started(ledger, job), {})
    clock.pass_s(999)
    assert ledger.retire() == ()
    clock.pass_s(1)
    assert ledger.retire() == (job.id,)
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


def test_wait_returns_at_the_end_and_not_before(redis_url: str) -> None:
    ledger = JobLedger(connect(redis_url))
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    began = time.monotonic()
    assert ledger.wait(job.id, 0.2).status is JobStatus.PROCESSING
    assert 0.15 < time.monotonic() - began < 5

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ledger.wait, job.id, 20)
        ledger.renew(lease, {"done": 1, "total": 2})
        assert not waiting.done()
        ledger.succeed(lease, {"n": 1})
        assert waiting.result(timeout=5).result == {"n": 1}
    assert time.monotonic() - began < 10
    assert ledger.wait(job.id, 20).finished  # already over: at once


def test_wait_never_misses_an_end(redis_url: str) -> None:
    ledger = JobLedger(connect(redis_url))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(50):
            job = ledger.create("recognition", REQUEST)
            lease = started(ledger, job)
            waiting = pool.submit(ledger.wait, job.id, 10)
            ledger.succeed(lease, {})
            assert waiting.result(timeout=1.5).finished  # a missed event would cost a whole blocking read


def test_events_tell_the_history_and_resume(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    ledger.renew(lease, {"stage": "detect"})
    ledger.renew(lease, {"stage": "detect"})  # nothing new
    ledger.succeed(lease, {})
    history = events(ledger, job.id)
    assert [event.status for event in history] == ["queued", "processing", "processing", "succeeded"]
    assert history[2].progress == {"stage": "detect"}
    assert events(ledger, job.id, history[1].id) == history[2:]
    began = time.monotonic()
    assert events(ledger, job.id, history[-1].id) == []  # nothing will come: no waiting
    assert time.monotonic() - began < 1
    for wrong in ("x", "1", "1-x", "-1-0", "9" * 50 + "-0"):
        with pytest.raises(InvalidCursor):
            ledger.events(job.id, wrong)


def test_events_come_as_they_happen_with_heartbeats(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    stream = ledger.events(job.id, heartbeat_s=0.05)
    first = next(stream)
    assert first is not None
    assert first.status is JobStatus.QUEUED
    assert next(stream) is None
    ledger.cancel(job.id)
    last = next(event for event in stream if event)
    assert last.status is JobStatus.CANCELED
    assert list(stream) == []


def test_stats_count_what_there_is(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    for _ in range(3):
        ledger.create("recognition", REQUEST)
    clock.pass_s(10)
    running = started(ledger, ledger.create("enrollment", {}, "https://example.com/hook"))
    redis_client.rpush("recognize", "a message")
    ledger.presence.consumed("recognize")
    clock.pass_s(5)
    stats = ledger.stats()
    assert (stats.queued, stats.processing, stats.oldest_queued_age_s) == (3, 1, 15.0)
    assert stats.messages == {"recognize": 1, "enroll": 0, "deliver": 0}
    assert stats.consumed_age_s == {"recognize": 5.0}
    ledger.fail(running, {"code": "x", "message": "", "retryable": False})
    stats = ledger.stats()
    assert (stats.processing, stats.deliveries_due, stats.deliveries_pending) == (0, 1, 1)
    assert stats.finished == {("enrollment", "failed"): 1}


def test_a_worker_is_believed_for_a_while(ledger: JobLedger, clock: Clock) -> None:
    ledger.presence.worker_ready("b", {"engine": "openvino"}, 10)
    ledger.presence.worker_ready("a", {}, 30)
    assert [worker.name for worker in ledger.presence.workers()] == ["a", "b"]
    assert ledger.presence.workers()[1].info == {"engine": "openvino"}
    clock.pass_s(10)
    assert [worker.name for worker in ledger.presence.workers()] == ["a"]
    ledger.presence.worker_gone("a")
    assert ledger.presence.workers() == ()


def test_redis_own_clock_is_the_default(settings: Settings) -> None:
    ledger = open_ledger(settings)
    assert abs(ledger.time() - time.time()) < 60
    assert abs(ledger.create("recognition", REQUEST).created_at - time.time()) < 60


def test_jobs_survive_kill_9_of_redis(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    client = connect(server.url)
    ledger = JobLedger(client, JOBS)
    queued, running = ledger.create("recognition", REQUEST), ledger.create("recognition", REQUEST)
    lease = started(ledger, running)
    wait_until_written(client)
    server.kill()
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        ledger.get(queued.id)
    assert time.monotonic() - began < 1.5
    server.start()
    assert ledger.get(queued.id) == queued
    assert ledger.succeed(lease, {"ok": True})
    assert ledger.get(running.id).result == {"ok": True}
    assert ledger.start(queued.id) is not None
    server.stop()

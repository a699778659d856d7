"""What swallowed messages, dead workers and poison leave is repaired, once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from infra.errors.jobs import JobFinished
from infra.jobs.ledger import JobLedger, JobStatus, Renewal
from infra.redis.client import connect
from infra.redis.durability import wait_until_written
from infra.redis.server import RedisServer
from tests.infra.clock import Clock
from tests.infra.ledgers import JOBS, REQUEST, RecordingQueue, events, started


def test_sweeping_brings_back_what_was_swallowed(ledger: JobLedger, clock: Clock) -> None:
    queue = RecordingQueue()
    recognition, enrolment = ledger.create("recognition", REQUEST), ledger.create("enrollment", {})
    assert ledger.sweeper.sweep(queue).republished == ()
    clock.pass_s(120)
    assert set(ledger.sweeper.sweep(queue).republished) == {recognition.id, enrolment.id}
    assert sorted(queue.published) == [("enroll", enrolment.id), ("recognize", recognition.id)]
    # The same moment, another keeper: nothing twice.
    assert ledger.sweeper.sweep(queue).republished == ()
    # A job that waits rightly is published at growing intervals: after 240 s more, not after 120.
    clock.pass_s(121)
    assert ledger.sweeper.sweep(queue).republished == ()
    clock.pass_s(120)
    assert len(ledger.sweeper.sweep(queue).republished) == 2


def test_keepers_side_by_side_publish_once(ledger: JobLedger, clock: Clock) -> None:
    jobs = [ledger.create("recognition", REQUEST) for _ in range(20)]
    clock.pass_s(200)
    queue = RecordingQueue()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ledger.sweeper.sweep(queue), range(4)))
    assert sorted(job_id for _, job_id in queue.published) == sorted(job.id for job in jobs)


def test_a_dead_workers_job_is_queued_again(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST)
    dead = started(ledger, job)
    clock.pass_s(30)
    queue = RecordingQueue()
    assert ledger.sweeper.sweep(queue).republished == (job.id,)
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
        swept = ledger.sweeper.sweep(queue)
    assert swept.poisoned == (job.id,)
    failed = ledger.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "job_poisoned"
    assert "3 attempts" in failed.error["message"]

    again = ledger.replay(job.id)
    assert (again.status, again.attempts, again.error, again.completed_at) == (JobStatus.QUEUED, 0, None, None)
    assert ledger.sweeper.sweep(queue, clock.at).republished == (job.id,)  # even if its publisher died
    lease = started(ledger, job)
    assert lease.token == 4  # tokens keep growing
    assert ledger.succeed(lease, {"ok": True})
    assert [event.status for event in events(ledger, job.id)] == ["queued", "processing", "succeeded"]
    with pytest.raises(JobFinished, match="Only a failed job"):
        ledger.replay(job.id)


def test_an_open_entry_without_a_record_is_dropped(ledger: JobLedger, clock: Clock, redis_client: redis.Redis) -> None:
    job = ledger.create("recognition", REQUEST)
    redis_client.delete(f"shitu:job:{job.id}")
    clock.pass_s(500)
    queue = RecordingQueue()
    assert ledger.sweeper.sweep(queue).republished == ()
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
    assert ledger.release(started(ledger, job), counted=False)  # it had to stop: not the job's fault
    assert ledger.get(job.id).attempts == 0
    assert ledger.sweeper.overdue() == [job.id]
    assert ledger.release(started(ledger, job), delay_s=60)
    assert ledger.sweeper.overdue() == []
    clock.pass_s(60)
    assert ledger.sweeper.sweep(queue).republished == (job.id,)
    assert ledger.release(started(ledger, job))
    assert ledger.release(started(ledger, job))  # the third and last attempt
    assert ledger.get(job.id).status is JobStatus.FAILED


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


def test_a_broken_record_keeps_the_keeper_from_no_other_and_has_an_end(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    queue = RecordingQueue()
    broken = [ledger.create("recognition", REQUEST).id for _ in range(3)]
    redis_client.hset(f"shitu:job:{broken[0]}", "attempts", "many")
    redis_client.hdel(f"shitu:job:{broken[1]}", "attempts")
    redis_client.delete(f"shitu:job:{broken[2]}")
    redis_client.set(f"shitu:job:{broken[2]}", "no hash at all")
    sound = ledger.create("recognition", REQUEST).id
    clock.pass_s(200)
    assert ledger.sweeper.sweep(queue).republished == (sound,)
    assert ledger.sweeper.sweep(queue).republished == ()
    for _ in range(10):
        clock.pass_s(100)
        ledger.sweeper.sweep(queue)
    assert set(redis_client.zrange("shitu:jobs:open", 0, -1)) == {sound}
    assert {redis_client.hget(f"shitu:job:{job_id}", "status") for job_id in broken[:2]} == {"failed"}
    redis_client.hdel(f"shitu:job:{broken[0]}", "id")
    clock.pass_s(2000)
    assert set(ledger.sweeper.retire()) >= set(broken[:2])


def test_a_broken_finished_record_does_not_keep_others_from_being_retired(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    ids = [ledger.create("recognition", REQUEST).id for _ in range(2)]
    for job_id in ids:
        ledger.cancel(job_id)
    redis_client.delete(f"shitu:job:{ids[0]}")
    redis_client.set(f"shitu:job:{ids[0]}", "no hash at all")
    clock.pass_s(2000)
    assert ledger.sweeper.retire() == (ids[1],)
    for _ in range(10):
        clock.pass_s(100)
        ledger.sweeper.retire()
    assert redis_client.zcard("shitu:jobs:finished") == 0
    assert not redis_client.exists(f"shitu:job:{ids[0]}")

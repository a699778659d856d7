"""Waiting for jobs, following them, counting them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from contracts.jobs import JobKind
from infra.errors.requests import InvalidCursor
from infra.jobs.ledger import JobLedger, JobStatus
from infra.jobs.records import Job
from infra.jobs.watch import JobWatch
from infra.redis.client import connect
from tests.infra.clock import Clock
from tests.infra.ledgers import REQUEST, events, started


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


def test_more_jobs_are_waited_for_at_a_time_than_a_pool_has_connections_by_default(redis_url: str) -> None:
    """Each blocks a connection of its own, as each thread of a web process may."""
    ledger = JobLedger(connect(redis_url))
    job = ledger.create("recognition", REQUEST)
    lease = started(ledger, job)
    with ThreadPoolExecutor(120) as pool:
        waiting = [pool.submit(ledger.wait, job.id, 20) for _ in range(120)]
        time.sleep(0.5)  # most of them sleep in Redis by now
        ledger.succeed(lease, {"n": 1})
        assert {one.result(timeout=10).status for one in waiting} == {JobStatus.SUCCEEDED}


def test_waiting_reads_a_job_that_the_caller_has_read_at_its_end_alone(redis_url: str) -> None:
    ledger = JobLedger(connect(redis_url))
    job = ledger.create("recognition", REQUEST)
    read: list[str] = []

    def get(job_id: str) -> Job:
        read.append(job_id)
        return ledger.get(job_id)

    watch = JobWatch(connect(redis_url), get)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch.wait, job.id, 10, job)
        lease = started(ledger, job)
        ledger.renew(lease, {"done": 1, "total": 2})
        ledger.succeed(lease, {"n": 1})
        assert waiting.result(timeout=5).finished
    assert read == [job.id]
    assert watch.wait(job.id, 10, watch.wait(job.id, 10)).finished
    assert read == [job.id] * 2


def test_a_job_that_failed_before_and_is_replayed_is_waited_for(ledger: JobLedger) -> None:
    job = ledger.create("recognition", REQUEST)
    ledger.fail(started(ledger, job), {"code": "x", "message": "", "retryable": True})
    again = ledger.replay(job.id)
    began = time.monotonic()
    assert ledger.wait(job.id, 0.3, again).status is JobStatus.QUEUED
    assert time.monotonic() - began > 0.25


def test_events_say_the_history_and_resume(ledger: JobLedger) -> None:
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
    redis_client.rpush("shitu:queue:recognize", "a message")
    ledger.presence.consumed("recognize")
    clock.pass_s(5)
    stats = ledger.stats()
    assert (stats.queued, stats.processing, stats.oldest_queued_age_s) == (3, 1, 15.0)
    assert {name for name, waiting in stats.messages.items() if waiting} == {"recognize"}
    assert set(stats.messages) == {*(kind.queue for kind in JobKind), "deliver", "fetch"}
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

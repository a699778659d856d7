"""Priorities are honoured and starve nobody; what is reported of a job's place and its end comes true."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import redis

from contracts.jobs import PRIORITIES, JobKind, Priority
from infra.jobs.lanes import place
from infra.jobs.ledger import JobLedger, JobStatus
from infra.jobs.terms import Terms
from tests.infra.clock import Clock
from tests.infra.ledgers import REQUEST, RecordingQueue, started

KIND = JobKind.RECOGNITION


def created(ledger: JobLedger, clock: Clock, priority: Priority = "normal") -> str:
    clock.pass_s(0.001)  # jobs of one moment have no order
    return ledger.create(KIND, REQUEST, terms=Terms(priority=priority)).id


def fill(ledger: JobLedger, clock: Clock, **counts: int) -> dict[Priority, list[str]]:
    return {one: [created(ledger, clock, one) for _ in range(counts.get(one, 0))] for one in PRIORITIES}


def order(ledger: JobLedger, turns: int) -> list[Priority]:
    """The lanes of the next jobs, each started as a worker does."""
    found: list[Priority] = []
    for _ in range(turns):
        job_id = ledger.lanes.next(KIND)
        assert job_id is not None
        assert ledger.start(job_id) is not None
        found.append(ledger.get(job_id).priority)
    return found


def test_higher_lanes_go_first_and_lower_ones_still_move(ledger: JobLedger, clock: Clock) -> None:
    fill(ledger, clock, high=100, normal=100, low=100)
    lanes = order(ledger, 64)
    assert Counter(lanes) == {"high": 48, "normal": 12, "low": 4}
    for lane, longest in (("high", 2), ("normal", 8), ("low", 16)):
        turns = [turn for turn, found in enumerate(lanes) if found == lane]
        assert max(later - earlier for earlier, later in pairwise(turns)) <= longest


def test_a_lane_is_first_come_first_served_and_leaves_no_turn_unused(ledger: JobLedger, clock: Clock) -> None:
    ids = []
    for _ in range(5):
        ids.append(ledger.create(KIND, REQUEST, terms=Terms(priority="low")).id)
        clock.pass_s(1)
    assert [ledger.lanes.next(KIND) for _ in range(6)] == [*ids, None]


def test_what_a_job_is_reported_of_its_place_is_about_when_its_turn_comes(ledger: JobLedger, clock: Clock) -> None:
    ids = fill(ledger, clock, high=30, normal=10, low=5)
    report = {}
    snapshot = ledger.forecast.snapshot()
    for priority, jobs in ids.items():
        for rank, job_id in enumerate(jobs):
            report[job_id] = place(rank, snapshot.waiting[KIND], priority)
            assert ledger.forecast.of(ledger.get(job_id))["position"] == report[job_id]
    for turn in range(1, 46):
        job_id = ledger.lanes.next(KIND)
        assert job_id is not None
        assert abs(report[job_id] - turn) <= 12, (ledger.get(job_id).priority, report[job_id], turn)
    assert place(0, {"high": 0, "normal": 0, "low": 0}, "low") == 1


def test_a_job_that_must_pause_is_not_next(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create(KIND, REQUEST)
    lease = started(ledger, job)
    assert ledger.release(lease, delay_s=10)
    assert ledger.lanes.next(KIND) is None
    clock.pass_s(10)
    assert ledger.lanes.next(KIND) == job.id


def test_a_photo_that_is_still_to_be_fetched_takes_no_turn(ledger: JobLedger) -> None:
    request = {**REQUEST, "image": {"key": None}}
    job = ledger.create(KIND, request, source_url="https://example.com/a.jpg")
    assert ledger.lanes.next(KIND) is None
    lease = ledger.start(job.id, fetching=True)
    assert lease is not None
    assert ledger.fetched(lease, {**REQUEST, "image": {"key": "photos/ab/abc"}})
    assert ledger.lanes.next(KIND) == job.id


def test_ended_jobs_leave_their_lane(ledger: JobLedger, redis_client: redis.Redis) -> None:
    canceled, done = (ledger.create(KIND, REQUEST) for _ in range(2))
    ledger.cancel(canceled.id)
    assert ledger.succeed(started(ledger, done), {})
    assert ledger.lanes.next(KIND) is None
    assert redis_client.keys("shitu:jobs:lane:*") == []


def test_a_worker_that_dies_with_a_turn_costs_the_job_only_time(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create(KIND, REQUEST)
    assert ledger.lanes.next(KIND) == job.id  # and nothing more is heard of it
    clock.pass_s(121)
    queue = RecordingQueue()
    assert ledger.sweeper.sweep(queue).republished == (job.id,)
    assert list(ledger.lanes.candidates(KIND, job.id)) == [job.id, job.id]
    assert ledger.get(job.id).status is JobStatus.QUEUED


def test_a_message_brings_the_next_job_and_its_own_at_last(ledger: JobLedger) -> None:
    low = ledger.create(KIND, REQUEST, terms=Terms(priority="low"))
    high = ledger.create(KIND, REQUEST, terms=Terms(priority="high"))
    assert list(ledger.lanes.candidates(KIND, low.id)) == [high.id, low.id, low.id]


def work_off(ledger: JobLedger, clock: Clock, seconds: float, units: int = 1, kind: JobKind = KIND) -> None:
    request = REQUEST if kind is KIND else {"gallery": "drinks", "items": []}
    job = ledger.create(kind, request, terms=Terms(units=units))
    lease = started(ledger, job)
    clock.pass_s(seconds)
    assert ledger.succeed(lease, {})


def worker(ledger: JobLedger, name: str = "a", concurrency: int = 2) -> None:
    info = {"models": {}, "queues": ["enroll", "recognize"], "concurrency": concurrency}
    ledger.presence.worker_ready(name, info, ttl_s=1000)


def test_nothing_is_promised_that_is_not_known(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create(KIND, REQUEST)
    assert ledger.forecast.of(job) == {"position": 1, "eta_s": None}
    worker(ledger)
    assert ledger.forecast.of(job)["eta_s"] is None
    work_off(ledger, clock, 2.0)
    assert ledger.forecast.of(job)["eta_s"] == 2.0
    ledger.presence.worker_gone("a")
    assert ledger.forecast.of(job)["eta_s"] is None


def test_the_end_is_reckoned_from_places_workers_and_times(ledger: JobLedger, clock: Clock) -> None:
    worker(ledger)
    for _ in range(3):
        work_off(ledger, clock, 2.0)
    jobs = [ledger.get(created(ledger, clock)) for _ in range(6)]
    etas = [ledger.forecast.of(job)["eta_s"] for job in jobs]
    assert etas == [2.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # two at a time
    running = started(ledger, jobs[0])
    clock.pass_s(0.5)
    assert ledger.forecast.of(ledger.get(jobs[0].id)) == {"position": 0, "eta_s": 1.5}
    clock.pass_s(100)
    assert ledger.forecast.of(ledger.get(jobs[0].id)) == {"position": 0, "eta_s": 0.2}
    assert ledger.succeed(running, {})
    alone = ledger.forecast.of(jobs[5])["eta_s"]
    worker(ledger, "b", concurrency=8)
    helped = ledger.forecast.of(jobs[5])["eta_s"]
    assert alone is not None
    assert helped is not None
    assert helped < alone / 2


def test_an_enrolment_is_reckoned_by_its_pictures(ledger: JobLedger, clock: Clock) -> None:
    worker(ledger)
    work_off(ledger, clock, 10.0, units=20, kind=JobKind.ENROLLMENT)
    report = ledger.forecast.snapshot().of_new(JobKind.ENROLLMENT, "normal", units=4)
    assert report == {"position": 1, "eta_s": pytest.approx(2.0)}

"""The load as the ledger has it, and the wanted workers as Prometheus and KEDA read them."""

from __future__ import annotations

import pytest
import redis
from prometheus_client import CollectorRegistry

from infra.jobs.ledger import JobLedger
from infra.jobs.load import SLOTS, STARTUP, ScalingCollector, read_load
from infra.jobs.scaling import Load
from infra.redis.client import connect
from infra.runtime.settings import ScalingSettings
from tests.infra.clock import Clock
from tests.infra.ledgers import JOBS, REQUEST, started


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JOBS, now=clock)


def wanted(ledger: JobLedger, **settings: float) -> float | None:
    registry = CollectorRegistry()
    registry.register(ScalingCollector(ledger, ScalingSettings(**settings)))  # type: ignore[arg-type]
    return registry.get_sample_value("shitu_workers_wanted")


def test_an_empty_ledger_is_no_load(ledger: JobLedger) -> None:
    assert read_load(ledger) == Load()
    assert wanted(ledger, least=0) == 0
    assert wanted(ledger) == 1


def test_jobs_and_workers_are_counted_and_measured_times_read(ledger: JobLedger, clock: Clock) -> None:
    jobs = [ledger.create("recognition", REQUEST) for _ in range(5)]
    ledger.create("enrollment", REQUEST)
    ledger.create("recognition", REQUEST, source_url="https://pictures.example/1.jpg")  # a courier has it first
    lease = started(ledger, jobs[0])
    clock.pass_s(4)
    ledger.succeed(lease, {})
    started(ledger, jobs[1])
    for name in ("a", "b"):
        ledger.presence.worker_ready(name, {"concurrency": 3}, ttl_s=60)
    ledger.forecast.note(STARTUP, 8.0)
    ledger.forecast.note(STARTUP, 18.0)
    load = read_load(ledger)
    assert load == Load(
        waiting=4, running=1, opened=6, oldest_age_s=4, job_s=4, workers=2, slots=3, startup_s=pytest.approx(11)
    )


def test_what_runs_is_what_the_workers_were_busy_with_on_average(ledger: JobLedger) -> None:
    started(ledger, ledger.create("recognition", REQUEST))
    assert read_load(ledger).running == 1
    ledger.presence.worker_ready("a", {"concurrency": 4, "busy_ratio": 0.75}, ttl_s=60)
    ledger.presence.worker_ready("b", {"concurrency": 4, "busy_ratio": 0.1}, ttl_s=60)
    assert read_load(ledger).running == pytest.approx(3.4)


def test_what_the_last_workers_were_like_is_known_when_none_is_left(ledger: JobLedger) -> None:
    ledger.forecast.note(SLOTS, 4)
    ledger.forecast.note(STARTUP, 7.5)
    load = read_load(ledger)
    assert (load.workers, load.slots, load.startup_s) == (0, 4, 7.5)


def test_the_metric_follows_the_jobs_and_is_absent_without_redis(ledger: JobLedger) -> None:
    for _ in range(50):
        ledger.create("recognition", REQUEST)
    assert wanted(ledger, least=0, target_wait_s=10) == 5
    assert wanted(ledger, least=7, target_wait_s=10) == 7
    assert wanted(JobLedger(connect("redis://127.0.0.1:1/0"))) is None

"""The scaling policy's input, read from the ledger; and its result, as a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts.jobs import JobKind
from infra.jobs.scaling import Load, Policy, wanted_workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.jobs.ledger import JobLedger
    from infra.jobs.presence import WorkerInfo
    from infra.runtime.settings import ScalingSettings

STARTUP, SLOTS = "worker:startup", "worker:slots"  # next to the jobs' times in shitu:jobs:service


def read_load(ledger: JobLedger) -> Load:
    """The load now. Raises redis.RedisError."""
    stats, seen = ledger.stats(), ledger.forecast.snapshot()
    waiting = {kind: sum(seen.waiting[kind].values()) for kind in JobKind}
    measured = {kind: seen.service[f"{kind}:job"] for kind in JobKind if f"{kind}:job" in seen.service}
    known = sum(count for kind, count in waiting.items() if kind in measured)
    if known:
        job_s: float | None = sum(count * measured.get(kind, 0.0) for kind, count in waiting.items()) / known
    else:
        job_s = measured.get(JobKind.RECOGNITION)
    workers = ledger.presence.workers()
    places = [int(worker.info.get("concurrency", 1)) for worker in workers]
    return Load(
        waiting=sum(waiting.values()),
        running=_busy(workers, stats.processing),
        opened=stats.queued + stats.processing,
        oldest_age_s=stats.oldest_queued_age_s,
        job_s=job_s,
        workers=len(workers),
        slots=round(sum(places) / len(places)) if places else int(seen.service.get(SLOTS, 1)),
        startup_s=seen.service.get(STARTUP),
    )


def _busy(workers: Iterable[WorkerInfo], processing: int) -> float:
    """Places that were busy on average since the heartbeats; what is being processed now where no worker reports it."""
    report = [worker.info for worker in workers if "busy_ratio" in worker.info]
    if not report:
        return processing
    return float(sum(info["busy_ratio"] * int(info.get("concurrency", 1)) for info in report))


def policy_of(settings: ScalingSettings) -> Policy:
    """The policy that the settings describe."""
    return Policy(settings.target_wait_s, settings.startup_s or None)


def described(load: Load, settings: ScalingSettings) -> dict[str, float]:
    """The load and what the policy makes of it, as the fields of a log line."""
    return {
        "workers_wanted": max(settings.least, wanted_workers(load, policy_of(settings))),
        "workers_ready": load.workers,
        "jobs_waiting": load.waiting,
        "jobs_open": load.opened,
        "oldest_age_s": round(load.oldest_age_s, 1),
    }


class ScalingCollector(Collector):
    """The policy's answer for the ledger as it is at each scrape; nothing while Redis cannot be reached."""

    def __init__(self, ledger: JobLedger, settings: ScalingSettings) -> None:
        self._ledger = ledger
        self._policy = policy_of(settings)
        self._least = settings.least

    def collect(self) -> Iterator[Metric]:
        """Asks Redis a handful of constant-time questions."""
        try:
            load = read_load(self._ledger)
        except redis.RedisError:
            return
        wanted = max(self._least, wanted_workers(load, self._policy))
        yield GaugeMetricFamily("shitu_workers_wanted", "How many workers the open jobs need.", wanted)
        startup = GaugeMetricFamily(
            "shitu_worker_startup_seconds", "From a worker's start to its first job, smoothed over the last ones."
        )
        if load.startup_s is not None:
            startup.add_metric([], load.startup_s)
        yield startup

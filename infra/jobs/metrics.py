"""What Prometheus reads at /metrics: this machine's measurements, and the state of the jobs.

The state is not measured but read from the ledger at each scrape, so that it is right whoever answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infra.jobs.worker_metrics import worker_metrics
from infra.runtime.telemetry import render_measurements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.jobs.ledger import JobLedger


def render_metrics(ledger: JobLedger | None = None, collectors: Iterable[Collector] = ()) -> bytes:
    """The text that Prometheus reads: this machine's measurements, with a `ledger` its state, and what `collectors` report."""
    text = render_measurements()
    state = CollectorRegistry()
    if ledger is not None:
        state.register(LedgerCollector(ledger))
    for collector in collectors:
        state.register(collector)
    return text + generate_latest(state)


class LedgerCollector(Collector):
    """The ledger as gauges. While Redis cannot be reached there is only `shitu_redis_up 0`."""

    def __init__(self, ledger: JobLedger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Asks Redis a handful of constant-time questions."""
        try:
            stats = self._ledger.stats()
            workers = self._ledger.presence.workers()
            endpoints = self._ledger.endpoints.all()
        except redis.RedisError:
            yield GaugeMetricFamily("shitu_redis_up", "Whether the ledger's Redis answers.", 0)
            return
        yield GaugeMetricFamily("shitu_redis_up", "Whether the ledger's Redis answers.", 1)
        jobs = GaugeMetricFamily("shitu_jobs", "Open jobs by status.", labels=["status"])
        jobs.add_metric(["queued"], stats.queued)
        jobs.add_metric(["processing"], stats.processing)
        yield jobs
        finished = CounterMetricFamily("shitu_jobs_finished_total", "Finished jobs.", labels=["kind", "status"])
        for (kind, status), count in sorted(stats.finished.items()):
            finished.add_metric([kind, status], count)
        yield finished
        yield GaugeMetricFamily(
            "shitu_queue_oldest_age_seconds", "How long the oldest queued job has waited.", stats.oldest_queued_age_s
        )
        depth = GaugeMetricFamily("shitu_queue_depth", "Messages in a queue, not yet taken.", labels=["queue"])
        for queue, count in sorted(stats.messages.items()):
            depth.add_metric([queue], count)
        yield depth
        consumed = GaugeMetricFamily(
            "shitu_queue_consumed_age_seconds", "Since a worker last took a task from the queue.", labels=["queue"]
        )
        for queue, age_s in sorted(stats.consumed_age_s.items()):
            consumed.add_metric([queue], age_s)
        yield consumed
        yield GaugeMetricFamily("shitu_webhooks_due", "Webhook messages whose time has come.", stats.deliveries_due)
        yield GaugeMetricFamily("shitu_webhooks_pending", "Webhook messages not yet taken.", stats.deliveries_pending)
        hooks = GaugeMetricFamily("shitu_webhook_endpoints", "Registered webhook endpoints by state.", labels=["state"])
        hooks.add_metric(["enabled"], sum(one.enabled for one in endpoints))
        hooks.add_metric(["disabled"], sum(not one.enabled for one in endpoints))
        yield hooks
        yield GaugeMetricFamily("shitu_workers_ready", "Workers that said they are ready.", len(workers))
        yield from worker_metrics(workers)

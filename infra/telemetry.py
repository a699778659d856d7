"""Logs and metrics: one line of JSON (or text) for each event, and what Prometheus reads at /metrics.

Measurements of this process are the counters and histograms below. Processes on one machine share them through files
when PROMETHEUS_MULTIPROC_DIR names a folder (the launcher sets and empties it; containers share a volume). The state of the jobs is not measured
but read from the ledger at each scrape, so that it is right whoever answers.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client import values as prometheus_values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from infra.jobs import JobLedger
from infra.settings import LogSettings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HOST = socket.gethostname()


def process_name() -> str:
    """Tells this process from all others whose files may lie in the same folder: containers number theirs alike."""
    return f"{HOST}-{os.getpid()}"


SHARED = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # at import, as the library does: the metrics below need to know
if SHARED:
    Path(SHARED).mkdir(parents=True, exist_ok=True)
    prometheus_values.ValueClass = prometheus_values.MultiProcessValue(process_name)  # type: ignore[no-untyped-call]  # the library leaves it untyped

REGISTRY = CollectorRegistry()

# A recognition takes tens of milliseconds: the usual buckets, with more of them there.
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

HTTP_REQUESTS = Histogram(
    "shitu_http_request_duration_seconds",
    "Time to answer an HTTP request, by route pattern.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
STAGES = Histogram(
    "shitu_stage_duration_seconds",
    "Time of one stage of a recognition: fetch, decode, detect, crop, embed, search, verify.",
    ["stage"],
    buckets=STAGE_BUCKETS_S,
    registry=REGISTRY,
)
QUEUE_WAIT = Histogram(
    "shitu_job_queue_wait_seconds",
    "Time from a job's acceptance to its first attempt.",
    ["kind"],
    buckets=WAIT_BUCKETS_S,
    registry=REGISTRY,
)
JOB_DURATION = Histogram(
    "shitu_job_duration_seconds",
    "Time a worker spent on one attempt, by how it ended.",
    ["kind", "outcome"],
    buckets=STAGE_BUCKETS_S + WAIT_BUCKETS_S[7:],
    registry=REGISTRY,
)
DELIVERIES = Counter(
    "shitu_webhook_attempts_total", "Attempts to deliver a webhook, by outcome.", ["outcome"], registry=REGISTRY
)
URL_FETCHES = Counter(
    "shitu_url_fetches_total", "Attempts to fetch a picture by URL, by outcome.", ["outcome"], registry=REGISTRY
)
PUBLISH_FAILURES = Counter(
    "shitu_publish_failures_total",
    "Messages that the broker did not take; the sweeper repeats them.",
    ["queue"],
    registry=REGISTRY,
)
SWEPT = Counter(
    "shitu_swept_jobs_total",
    "Overdue jobs found by the sweeper: republished, poisoned or canceled.",
    ["outcome"],
    registry=REGISTRY,
)

# What every log record has by itself; whatever else it has came by `extra`.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields given by `extra`, and an exception's trace."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_extra(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line to read in a terminal: time, level, logger, message, extra fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        line = f"{at} {record.levelname.lower():7} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sends every logger of this process to `stream` (None: standard error), and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    logging.captureWarnings(capture=True)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "PIL"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def render_metrics(ledger: JobLedger | None = None) -> bytes:
    """The text that Prometheus reads: this machine's measurements, and with a `ledger` its state."""
    own: CollectorRegistry = REGISTRY
    if SHARED:
        own = CollectorRegistry()
        MultiProcessCollector(own)  # type: ignore[no-untyped-call]  # prometheus_client leaves its constructor untyped
    text = generate_latest(own)
    if ledger is not None:
        state = CollectorRegistry()
        state.register(LedgerCollector(ledger))
        text += generate_latest(state)
    return text


class LedgerCollector(Collector):
    """The ledger as gauges. While Redis cannot be reached there is only `shitu_redis_up 0`."""

    def __init__(self, ledger: JobLedger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Asks Redis a handful of constant-time questions."""
        try:
            stats = self._ledger.stats()
            workers = self._ledger.presence.workers()
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
        yield GaugeMetricFamily("shitu_workers_ready", "Workers that said they are ready.", len(workers))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _BUILT_IN}

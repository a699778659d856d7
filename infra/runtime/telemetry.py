"""Metrics: what this machine's processes measure for Prometheus.

Processes on one machine share them through files when PROMETHEUS_MULTIPROC_DIR names a folder (the launcher sets and
empties it; containers share a volume). The state of the jobs is not measured: `infra.jobs.metrics` reads it from the
ledger at each scrape.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client import values as prometheus_values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from infra.runtime.shared_metrics import MetricsFiles, value_class

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HOST = socket.gethostname()


def process_name() -> str:
    """Distinguishes this process from all others whose files may lie in the same folder: containers number theirs alike."""
    return f"{HOST}-{os.getpid()}"


SHARED = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # at import, as the library does: the metrics below need to know
FILES = MetricsFiles(Path(SHARED), process_name) if SHARED else None
if FILES:
    prometheus_values.ValueClass = value_class(FILES)

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
BATCH_SIZE = Histogram(
    "shitu_batch_size",
    "Parts of a photo that are embedded at once: its objects and the whole photo.",
    buckets=(1, 2, 3, 4, 6, 8, 11, 16, 32, 64, 101),
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
ETA_ERROR = Histogram(
    "shitu_job_eta_error_seconds",
    "How far off the first estimate of a job's end was, and whether it ended late or early.",
    ["kind", "direction"],
    buckets=WAIT_BUCKETS_S,
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

CACHE_LOOKUPS = Counter(
    "shitu_cache_lookups_total",
    "Photos looked for among those that came before, in `answers` and in `sights`: hit or miss.",
    ["cache", "outcome"],
    registry=REGISTRY,
)


def render_measurements() -> bytes:
    """The text that Prometheus reads of what this machine's processes have measured."""
    own = CollectorRegistry()
    if FILES:
        own.register(_SharedCollector(FILES))
    return generate_latest(own if FILES else REGISTRY)


class _SharedCollector(Collector):
    """What all processes of this machine have measured, as far as they could write it down."""

    def __init__(self, files: MetricsFiles) -> None:
        self._files = files

    def collect(self) -> Iterator[Metric]:
        """Each file by itself first: one that is damaged or has just gone costs its own numbers only."""
        readable = []
        for path in self._files.paths():
            try:
                MultiProcessCollector.merge([path])  # type: ignore[no-untyped-call]  # the library leaves it untyped
            except (OSError, ValueError, struct.error, RuntimeError):
                continue
            readable.append(path)
        yield from MultiProcessCollector.merge(readable)  # type: ignore[no-untyped-call]

"""What the ledger hands out: jobs, leases and events, and the identifiers of all records."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from contracts import jobs
from contracts.jobs import JobKind, Priority
from infra.runtime import tracing

if TYPE_CHECKING:
    from infra.runtime.tracing import TraceContext

QUEUES = (
    *[kind.queue for kind in JobKind],
    "deliver",
    "fetch",
)  # Celery's; each is the Redis list of ledger_stats.queue_key
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
JOB_ID = re.compile(rf"(?:{'|'.join(kind.prefix for kind in JobKind)})_[0-7][{ALPHABET}]{{25}}")
EVENT_ID = re.compile(rf"msg_[0-7][{ALPHABET}]{{25}}")
DELIVERY_ID = re.compile(
    rf"msg_[0-7][{ALPHABET}]{{25}}|dlv_(?:[0-7][{ALPHABET}]{{25}}){{2}}"
)  # to an endpoint: both ids
ENDPOINT_ID = re.compile(rf"whk_[0-7][{ALPHABET}]{{25}}")


class JobStatus(StrEnum):
    """A job's life: queued, processing, then one of the other three for good (a failed one may be replayed)."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in FINISHED


FINISHED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})


@dataclass(frozen=True)
class WebhookState:
    """How far the delivery of a job's end has come; `status` is pending, delivered, failed, disabled or stopped."""

    url: str
    status: str = "pending"
    attempts: int = 0
    last_status: int | None = None  # of HTTP
    delivery_id: str | None = None  # the webhook-id; None until the job ends

    def to_dict(self) -> jobs.WebhookState:
        """The `webhook` of the job as JSON."""
        return {
            "url": self.url,
            "status": cast("jobs.DeliveryStatus", self.status),
            "attempts": self.attempts,
            "last_status": self.last_status,
            "id": self.delivery_id,
        }


@dataclass(frozen=True)
class Job:
    """One job as the ledger holds it. Times are seconds since 1970."""

    id: str
    kind: JobKind
    status: JobStatus
    request: dict[str, Any]
    created_at: float
    started_at: float | None = None  # of the latest attempt
    completed_at: float | None = None
    expires_at: float | None = None
    attempts: int = 0
    cancel_requested: bool = False
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: jobs.JobError | None = None
    webhook: WebhookState | None = None
    source_url: str | None = field(default=None, repr=False)  # where pictures are still to be fetched from; never told
    fetched_at: float | None = None
    owner: str = ""  # the id of the request's API key
    metadata: dict[str, str] = field(default_factory=dict)
    cancel_at: float | None = None  # by its Cancel-After
    priority: Priority = "normal"
    units: int = 1
    batch: str | None = None
    eta_s: float | None = None  # the estimate when it was created
    trace: TraceContext | None = None  # of the request that made it
    token: int = 0  # of the latest attempt

    @property
    def finished(self) -> bool:
        """Whether the job succeeded, failed or was canceled."""
        return self.status.finished

    def to_dict(self, root: str = "") -> jobs.Job:
        """The job as JSON: the same for the poll, the event stream and the webhook's `data`.

        `root` is the path below which the service is served, without a slash at its end.
        """
        link = f"{root}{self.kind.path}/{self.id}"
        return {
            "id": self.id,
            "kind": self.kind.value,
            "status": self.status.value,
            "created_at": str(isoformat(self.created_at)),
            "started_at": isoformat(self.started_at),
            "completed_at": isoformat(self.completed_at),
            "expires_at": isoformat(self.expires_at),
            "attempts": self.attempts,
            "cancel_requested": self.cancel_requested,
            "progress": self.progress,
            "links": {"self": link, "cancel": f"{link}/cancel", "events": f"{link}/events"},
            "request": self.request,
            "result": self.result,
            "error": self.error,
            "webhook": self.webhook.to_dict() if self.webhook else None,
            "metadata": self.metadata,
            "cancel_at": isoformat(self.cancel_at),
            "priority": self.priority,
            "batch": self.batch,
            "trace_id": self.trace.trace_id if self.trace else None,
        }


@dataclass(frozen=True)
class Lease:
    """The right to work on a job until `expires_at` (of the ledger's clock). `token` grows with every attempt."""

    job_id: str
    token: int
    attempt: int
    expires_at: float
    last: bool  # no attempt follows this one
    erasures: int = 0  # that were made before it was given
    job: Job | None = field(default=None, compare=False, repr=False)  # as it was then


class Renewal(StrEnum):
    """What became of a lease. True only for `HELD`: any other means to stop working and publish nothing."""

    HELD = "held"
    CANCEL_REQUESTED = "cancel_requested"  # end it with `finish_canceled` or `release`
    LOST = "lost"

    def __bool__(self) -> bool:
        return self is Renewal.HELD


@dataclass(frozen=True)
class JobEvent:
    """One line of a job's history. `id` resumes the stream after it."""

    id: str
    status: JobStatus
    attempts: int
    at: float
    progress: dict[str, Any] | None = None


@dataclass(frozen=True)
class Swept:
    """What one sweep did, as job ids."""

    republished: tuple[str, ...] = ()
    poisoned: tuple[str, ...] = ()
    canceled: tuple[str, ...] = ()


@dataclass(frozen=True)
class LedgerStats:
    """The ledger in numbers, for /metrics and /readyz."""

    queued: int
    processing: int
    oldest_queued_age_s: float
    finished: dict[tuple[str, str], int] = field(default_factory=dict)  # (kind, status): how many ever
    deliveries_due: int = 0
    deliveries_pending: int = 0
    messages: dict[str, int] = field(default_factory=dict)  # queue: messages not yet taken
    consumed_age_s: dict[str, float] = field(default_factory=dict)  # queue: since a worker last took a task


def new_id(prefix: str, now: float) -> str:
    """`prefix_` and 26 characters that sort by time: 48 bits of milliseconds, 80 of chance (the layout of a ULID)."""
    number = (int(now * 1000) << 80) | int.from_bytes(os.urandom(10))
    return prefix + "_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))


def fixed_id(prefix: str, now: float, content: str) -> str:
    """As `new_id`, but with what follows from `content` in place of chance: who comes twice makes the same."""
    chance = hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:10]
    number = (int(now * 1000) << 80) | int.from_bytes(chance)
    return prefix + "_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))


def isoformat(at: float | None) -> str | None:
    """UTC with milliseconds: 2026-01-31T12:00:00.000Z."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_job(record: Mapping[str, str]) -> Job:
    """A job from its hash in Redis."""
    url = record.get("webhook_url")
    return Job(
        id=record["id"],
        kind=JobKind(record["kind"]),
        status=JobStatus(record["status"]),
        request=json.loads(record["request"]),
        created_at=float(record["created_at"]),
        started_at=_number(record.get("started_at")),
        completed_at=_number(record.get("completed_at")),
        expires_at=_number(record.get("expires_at")),
        attempts=int(record.get("attempts", 0)),
        cancel_requested="cancel_requested" in record,
        progress=parse_json(record.get("progress")),
        result=parse_json(record.get("result")),
        error=cast("jobs.JobError | None", parse_json(record.get("error"))),
        webhook=_webhook(url, record) if url else None,
        source_url=record.get("source_url"),
        fetched_at=_number(record.get("fetched_at")),
        owner=record.get("owner", ""),
        metadata=parse_json(record.get("metadata")) or {},
        cancel_at=_number(record.get("cancel_at")),
        priority=cast("Priority", record.get("priority", "normal")),
        units=int(record.get("units", 1)),
        batch=record.get("batch"),
        eta_s=_number(record.get("eta_s")),
        trace=tracing.parse(record.get("traceparent"), record.get("tracestate")),
        token=int(record.get("token", 0)),
    )


def parse_event(event_id: str, entry: Mapping[str, str]) -> JobEvent:
    """An event from its entry in the job's stream."""
    return JobEvent(
        id=event_id,
        status=JobStatus(entry["status"]),
        attempts=int(entry["attempts"]),
        at=float(entry["at"]),
        progress=parse_json(entry.get("progress")),
    )


def parse_json(text: str | None) -> dict[str, Any] | None:
    """The object in `text`; None for none."""
    if not text:
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def _webhook(url: str, record: Mapping[str, str]) -> WebhookState:
    last_status = record.get("webhook_last_status")
    return WebhookState(
        url=url,
        status=record.get("webhook_status", "pending"),
        attempts=int(record.get("webhook_attempts", 0)),
        last_status=int(last_status) if last_status else None,
        delivery_id=record.get("delivery_id"),
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None

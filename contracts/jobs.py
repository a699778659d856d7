"""The kinds of jobs, and a job as JSON: the same in the poll, the event stream and the webhook's `data`.

A kind is one member of `JobKind` with its `Traits`; ids, paths, queues, tasks, schemas and links all come from it. A new
kind is an entry here, a task with its work in `worker.tasks`, and its views in `web`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NotRequired, TypeVar

from typing_extensions import TypedDict

Status = Literal["queued", "processing", "succeeded", "failed", "canceled"]
DeliveryStatus = Literal["pending", "delivered", "failed", "disabled", "stopped"]

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

T = TypeVar("T")


@dataclass(frozen=True)
class Traits:
    """What belongs to a kind: the prefix of its ids, the path of its routes, and its Celery queue."""

    prefix: str
    path: str
    queue: str


class JobKind(StrEnum):
    """What a job is about; as a string it is the `kind` of a job's JSON."""

    RECOGNITION = "recognition"
    ENROLLMENT = "enrollment"
    DETECTION = "detection"
    EMBEDDING = "embedding"
    CLASSIFICATION = "classification"
    IMPORT = "import"
    EVALUATION = "evaluation"
    LINT = "lint"
    REEMBEDDING = "reembedding"

    @property
    def prefix(self) -> str:
        """Of its ids: `rec` of `rec_0…`."""
        return TRAITS[self].prefix

    @property
    def path(self) -> str:
        """Of its routes: `/v1/recognitions`."""
        return TRAITS[self].path

    @property
    def queue(self) -> str:
        """Its Celery queue."""
        return TRAITS[self].queue

    @property
    def task(self) -> str:
        """The name of its Celery task."""
        return f"shitu.{self.queue}"

    @classmethod
    def of(cls, job_id: str) -> JobKind:
        """The kind of an id, by its prefix. Raises ValueError for what is no id."""
        prefix = job_id.partition("_")[0]
        for kind in cls:
            if kind.prefix == prefix:
                return kind
        raise ValueError(f"{job_id!r} is no id of a job")


TRAITS = {
    JobKind.RECOGNITION: Traits("rec", "/v1/recognitions", "recognize"),
    JobKind.ENROLLMENT: Traits("enr", "/v1/enrollments", "enroll"),
    JobKind.DETECTION: Traits("det", "/v1/detections", "detect"),
    JobKind.EMBEDDING: Traits("emb", "/v1/embeddings", "embed"),
    JobKind.CLASSIFICATION: Traits("cls", "/v1/classifications", "classify"),
    JobKind.IMPORT: Traits("imp", "/v1/imports", "import"),
    JobKind.EVALUATION: Traits("evl", "/v1/evaluations", "evaluate"),
    JobKind.LINT: Traits("lnt", "/v1/lints", "lint"),
    JobKind.REEMBEDDING: Traits("ree", "/v1/reembeddings", "reembed"),
}


def described(record: type[T]) -> type[T]:
    """Marks a TypedDict as one of an answer's: pydantic then describes its members by the strings below them.

    Members may be added in later versions: clients ignore what they do not know.
    """
    record.__pydantic_config__ = {"extra": "allow", "use_attribute_docstrings": True}  # type: ignore[attr-defined]
    return record


class JobLinks(TypedDict):
    """Where to go from a job."""

    self: str
    cancel: str
    events: str


@described
class JobError(TypedDict):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool
    attempts: NotRequired[int]
    """With `job_poisoned`: how often it was tried."""


@described
class WebhookState(TypedDict):
    """How far the delivery of the job's end has come."""

    url: str
    status: DeliveryStatus
    attempts: int
    last_status: int | None
    id: str | None
    """The webhook-id of its message; null until the job ends."""


@described
class QueueState(TypedDict):
    """Where an open job stands."""

    position: int
    """Which turn it gets, from 1, by the present state of the lanes; 0 while it is worked on."""
    eta_s: float | None
    """Seconds until its end, estimated from what jobs took lately and the workers that live; null if neither is known."""


class JobState(TypedDict):
    """What jobs of every kind say."""

    id: str
    kind: Literal[
        "recognition",
        "enrollment",
        "detection",
        "embedding",
        "classification",
        "import",
        "evaluation",
        "lint",
        "reembedding",
    ]
    status: Status
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str | None
    attempts: int
    cancel_requested: bool
    progress: dict[str, Any] | None
    links: JobLinks
    error: JobError | None
    webhook: WebhookState | None
    metadata: dict[str, str]
    cancel_at: str | None
    """When its Cancel-After passes; null if it has none."""
    priority: Priority
    batch: str | None
    """The id of the batch that it belongs to."""
    trace_id: str | None
    """Of the W3C trace that its request belongs to; null of jobs from before they had one."""
    queue: NotRequired[QueueState]
    """Of an open job, in the answer to its creation and to a poll, and in its events."""


class Job(JobState):
    """A job of any kind."""

    request: dict[str, Any]
    result: dict[str, Any] | None

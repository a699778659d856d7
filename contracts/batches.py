"""A batch of recognitions as JSON."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import JobError, QueueState, described
from contracts.results import RecognitionResult

BatchStatus = Literal["queued", "processing", "completed", "canceled"]
EntryStatus = Literal["queued", "processing", "succeeded", "failed", "canceled", "rejected"]


class SelfLink(TypedDict):
    """Where to go."""

    self: str


class BatchLinks(TypedDict):
    """Where to go from a batch."""

    self: str
    cancel: str
    events: str
    results: str


@described
class BatchCounts(TypedDict):
    """Its pictures by what has become of them."""

    total: int
    queued: int
    processing: int
    succeeded: int
    failed: int
    canceled: int
    rejected: int


@described
class BatchEntry(TypedDict):
    """One picture, in the order in which they were sent."""

    index: int
    name: str
    id: str | None
    """Its job's; null if the picture was rejected."""
    status: EntryStatus
    error: JobError | None
    """Why it was rejected; why its job failed is in the job, and in the results."""
    links: SelfLink | None


@described
class BatchRequest(TypedDict):
    """What was requested for all pictures."""

    gallery: str
    filter: NotRequired[list[str]]
    """Only items whose metadata meets all of these are searched."""
    options: dict[str, Any]
    metadata: dict[str, str]
    priority: str


@described
class BatchSummary(TypedDict):
    """A batch without its jobs. `completed`: all of them have ended, whatever came of them."""

    id: str
    status: BatchStatus
    created_at: str
    completed_at: str | None
    expires_at: str | None
    cancel_requested: bool
    request: BatchRequest
    counts: BatchCounts
    links: BatchLinks


@described
class Batch(BatchSummary):
    """Many photos, one job each."""

    jobs: list[BatchEntry]
    queue: NotRequired[QueueState]
    """Of its last open job, while there is one."""


@described
class BatchPage(TypedDict):
    """Batches, the newest first; `next_after` is the `after` of the next page, null on the last."""

    batches: list[BatchSummary]
    next_after: str | None


@described
class BatchResult(TypedDict):
    """One line of the results."""

    index: int
    name: str
    id: str | None
    status: EntryStatus
    result: RecognitionResult | None
    error: JobError | None

"""A gallery's embedding with another embedder, as JSON: the `request` and `result` of a job."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import JobError, JobState, described
from contracts.results import ModelUsed
from contracts.usage import GalleryUsed
from contracts.versions import EvaluationResult

NotActivated = Literal["not_requested", "items_left_out", "recall_lower", "gallery_changed"]


@described
class LeftOut(TypedDict):
    """An item that the new version does not have."""

    item_id: str
    label: str
    error: JobError
    """`picture_missing` of an item whose picture is not kept; `embedding_invalid`, or the code of a picture that does not decode."""


@described
class ReembeddingResult(TypedDict):
    """The staged version, and how its answers compare with those of the version that it was made of."""

    gallery: GalleryUsed
    """The new version."""
    base: GalleryUsed
    """The version that it was made of."""
    activated: bool
    not_activated: NotActivated | None
    """Why the version is only staged; null: it is in force."""
    left_out: list[LeftOut]
    """The first hundred items that could not be embedded; they are in the old version alone."""
    left_out_count: int
    evaluation: EvaluationResult
    """As of `POST /v1/galleries/{name}/versions/{version}/evaluate`, with `base` as `against`."""
    models: dict[str, ModelUsed | None]


@described
class ReembeddingJobRequest(TypedDict):
    """What was requested."""

    gallery: str
    embedder: str
    activate: NotRequired[bool]


@described
class ReembeddingJob(JobState):
    """A gallery embedded again. While it runs, `progress` has `done` and `total`, and `stage`: `embed` or `evaluate`."""

    request: ReembeddingJobRequest
    result: ReembeddingResult | None


@described
class ReembeddingPage(TypedDict):
    """Such jobs, the newest first; `next_after` is the `after` of the next page, null on the last."""

    reembeddings: list[ReembeddingJob]
    next_after: str | None

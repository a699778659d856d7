"""What the jobs answer that run one network on a photo: detections, embeddings and classifications, member by member."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import JobState, described
from contracts.results import KeptPhoto, Match, ModelUsed, Size
from contracts.usage import Box, GalleryUsed


@described
class PhotoJobRequest(TypedDict):
    """What was requested; `options` has what the client named."""

    image: KeptPhoto
    options: dict[str, Any]


@described
class EmbeddingJobRequest(PhotoJobRequest):
    """The same of an embedding, and by which embedder, if one was named; or of a search for items."""

    embedder: NotRequired[str]
    gallery: NotRequired[str]
    """Whose items are searched for, with `options` for that."""
    filter: NotRequired[list[str]]
    """Only items whose metadata meets these."""


class PhotoResult(TypedDict):
    """What all of them say."""

    image: Size
    models: dict[str, ModelUsed | None]
    timings_ms: dict[str, float]


@described
class DetectedObject(TypedDict):
    """An object, wherever it may belong."""

    box: Box
    confidence: float


@described
class DetectionResult(PhotoResult):
    """The main objects of a photo, the most confident first."""

    detections: list[DetectedObject]


class OfPart(TypedDict):
    """Which part of the photo it is about."""

    box: Box
    """What of the given box lies in the photo, or the whole photo."""
    given: NotRequired[int]
    """With the option `boxes`: which of them, from 0 on."""


@described
class PartEmbedding(OfPart):
    """A unit vector; null where the embedder gives no usable answer."""

    embedding: list[float] | None


@described
class EmbeddingResult(PhotoResult):
    """One embedding for each part."""

    dim: int
    embeddings: list[PartEmbedding]
    gallery: NotRequired[GalleryUsed]
    """Of a search for items: the version that was searched."""
    items: NotRequired[list[Match]]
    """Of a search for items: those nearest to the photo, best first."""


@described
class ClassScore(TypedDict):
    """A class and how likely it is; `label` is null where the model does not name its classes."""

    class_id: int
    label: str | None
    score: float


@described
class PartClasses(OfPart):
    """The likeliest classes, best first."""

    classes: list[ClassScore]


@described
class ClassificationResult(PhotoResult):
    """The classes of each part."""

    classifications: list[PartClasses]


@described
class DetectionJob(JobState):
    """A detection."""

    request: PhotoJobRequest
    result: DetectionResult | None


@described
class EmbeddingJob(JobState):
    """An embedding, or a search for a gallery's items by it."""

    request: EmbeddingJobRequest
    result: EmbeddingResult | None


@described
class ClassificationJob(JobState):
    """A classification."""

    request: PhotoJobRequest
    result: ClassificationResult | None

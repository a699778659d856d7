"""What `trace` adds to a recognition's result: all that was seen on the way to the answer. For people and for bug reports."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import described

Box = list[int]
Source = Literal["detection", "whole_image", "given"]
Undetected = Literal["below_detection_threshold", "over_max_detections", "empty"]
DropReason = Literal[
    "below_min_precision",
    "below_similarity_threshold",
    "unlike_whole_image",
    "suppressed",
    "empty_gallery",
    "no_match",
    "invalid_embedding",
]
Outcome = Literal["recognized", DropReason, "whole_image_not_needed"]


@described
class TracedDetection(TypedDict):
    """A box that the detector proposed; those that overlap a better one much are left out by the detector itself."""

    box: list[float]
    confidence: float
    reason: Undetected | None
    """Why it was not looked up; null: it was."""


@described
class TracedMatch(TypedDict):
    """An item of the gallery near to a part."""

    label: str
    similarity: float
    item_id: str
    gallery: NotRequired[str]
    inliers: NotRequired[int]
    """How many local features agree with its picture, where they were compared."""


@described
class TracedLabel(TypedDict):
    """A label that a part may have."""

    label: str
    similarity: float
    """Of all its pictures together."""
    nearest: float
    """Of the nearest of them."""
    pictures: int
    probability: float
    """By the embeddings alone."""
    verified_probability: float | None
    """After the second look by local features; null if there was none."""


@described
class TracedPart(TypedDict):
    """A part of the photo that was looked up."""

    box: Box
    searched: Box
    """What was embedded: a little more than the box."""
    confidence: float | None
    source: Source
    given: NotRequired[int]
    matches: list[TracedMatch]
    """All nearest items that were looked at, also beyond `top_k`."""
    labels: list[TracedLabel]
    outcome: Outcome
    """`recognized`, or why not; the whole photo also `whole_image_not_needed`."""
    why: str
    """The outcome as a sentence, with its numbers."""


@described
class Thresholds(TypedDict):
    """Whatever was compared with a number on the way."""

    detection_threshold: float | None
    """Null where nothing was detected."""
    max_detections: int
    min_precision: float | None
    probability_threshold: float | None
    similarity_threshold: float | None
    suppression_iou: float
    doubtful_probabilities: list[float]
    """With `verify` at `auto`: between them a part is looked at twice."""
    doubtful_gap: float
    """And where the first two labels are nearer than that."""


@described
class Trace(TypedDict):
    """How the answer came about. How long each stage took is in `timings_ms`."""

    detections: list[TracedDetection]
    parts: list[TracedPart]
    thresholds: Thresholds

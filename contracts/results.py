"""What recognitions and enrolments ask for and answer, as JSON: the `request` and `result` of a job, member by member.

One description for all: the models and the worker build these records (mypy holds them to it), /openapi.json is generated
from it, and tests hold real answers to it. The strings below the members are their descriptions there.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from contracts.comparisons import Compared, Difference
from contracts.jobs import JobError, JobState, described
from contracts.options import Crop, Verify
from contracts.traces import DropReason, Source, Trace
from contracts.usage import Box, GalleryUsed

Reason = Literal["empty_gallery", "nothing_detected", "nothing_recognized"]
Calibrated = Literal["gallery", "embedder", "uncalibrated"]
Point = tuple[float, float, float, float]  # x, y in the photo and x, y in the item's picture


@described
class InGallery(TypedDict, total=False):
    """Where several galleries are searched at once."""

    gallery: str
    """The one of them that has it; only if several are searched."""


@described
class OfItem(InGallery, total=False):
    """What only some items have."""

    metadata: dict[str, str]
    """The item's, if it has some."""


@described
class Match(OfItem):
    """A near picture of the gallery."""

    label: str
    similarity: float
    item_id: str
    image_key: str | None
    """Where the picture is kept; null for an item that does not come from an object store."""


@described
class Candidate(OfItem):
    """A label that an object may have, with the item that speaks for it most."""

    label: str
    probability: float
    """How likely the label is right: an estimate."""
    similarity: float
    item_id: str
    image_key: str | None


@described
class Verification(InGallery):
    """The local features of a crop that agree with those of an item's picture."""

    inliers: int
    """How many agree on one place, turn and size."""
    points: list[Point]
    """Some of the pairs: x, y as fractions of the photo's width and height, then of the item's picture's, or of its `item_box` where it has one."""
    item_id: str | None
    """The item whose picture agrees most; null if none does."""
    item_box: Box | None
    """The part of its picture that was enrolled; null: all of it."""


@described
class RecognizedObject(InGallery):
    """One recognised object: `box` is x1, y1, x2, y2 in pixels of the upright photo, x2 and y2 exclusive."""

    box: Box
    confidence: float | None
    """The detector's; null for the whole photo, and for a box that was given."""
    source: Source
    given: NotRequired[int]
    """With the option `boxes`: which of them, from 0 on; `box` is what of it lies in the photo."""
    label: str
    similarity: float
    probability: float
    """How likely the label is right: an estimate."""
    matches: list[Match]
    candidates: list[Candidate]
    """The best guesses, each of another label, best first."""
    verification: Verification | None
    """With the item that answers; null if it was not compared."""


@described
class DroppedObject(TypedDict):
    """An object that was seen and not recognised, and why; its `candidates` are for a person to confirm one."""

    box: Box
    confidence: float | None
    source: Source
    given: NotRequired[int]
    """With the option `boxes`: which of them, from 0 on."""
    reason: DropReason
    matches: list[Match]
    candidates: list[Candidate]
    """The best guesses, each of another label, best first."""
    verification: Verification | None
    """With an item of the first candidate; null if it was not compared."""
    suppressed_by: NotRequired[Box]
    """With `suppressed`: the box of the likelier one that it overlaps (with `compat`, of the more similar)."""


@described
class Size(TypedDict):
    """Pixels."""

    width: int
    height: int


@described
class ModelUsed(TypedDict):
    """A model by name and content, and the engine and precision that ran it."""

    name: str
    digest: str
    engine: Literal["openvino", "paddle"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]


class PaddleClasObject(TypedDict):
    """A recognised object in PaddleClas' format."""

    bbox: Box
    rec_docs: str
    rec_scores: float


@described
class Decision(TypedDict):
    """How it was decided what is an answer: the threshold in force, and how it came about."""

    min_precision: float | None
    """The wanted fraction of right answers; null if a similarity decided."""
    probability_threshold: float | None
    """The least probability of an answer that follows from it."""
    similarity_threshold: float | None
    """The least similarity of an answer, where that decided."""
    calibration: Calibrated
    """Whose probabilities: the gallery's, fitted when pictures were last added, or the embedder's for any."""
    calibration_queries: int
    """On how many queries they were fitted."""
    verify: Verify
    verified: int
    """How many objects had their local features compared."""


@described
class Recognized(TypedDict):
    """What the models say of a photo."""

    image: Size
    recognitions: list[RecognizedObject]
    dropped: list[DroppedObject]
    reason: Reason | None
    decision: Decision | None
    timings_ms: dict[str, float]
    trace: NotRequired[Trace]
    """With the option `trace`."""


@described
class RecognitionResult(Recognized):
    """What was found."""

    gallery: GalleryUsed
    galleries: NotRequired[list[GalleryUsed]]
    """All that were searched, if they were several; `gallery` is the first."""
    models: dict[str, ModelUsed | None]
    embedders: NotRequired[list[ModelUsed]]
    """Of galleries of different embedders: the embedder of each, in the order of the galleries; `models` has the first."""
    decisions: NotRequired[list[Decision]]
    """Likewise: what answers of each embedder were held to; `decision` is the first."""
    difference: NotRequired[Difference]
    """Of a job that compares: what is different from the old answer."""
    paddleclas: NotRequired[list[PaddleClasObject]]
    """With the option `compat` at `paddleclas`: `recognitions` in PaddleClas' format."""


@described
class NearDuplicate(TypedDict):
    """The item that a new picture is nearly the same as, by their embeddings."""

    item_id: str
    label: str
    similarity: float


@described
class EnrolledItem(TypedDict):
    """What became of one picture."""

    name: str
    status: Literal["added", "duplicate", "rejected"]
    item_id: str | None
    """The item; of a picture left out as a near duplicate the one that it nearly is."""
    label: str
    error: JobError | None
    near_duplicate_of: NotRequired[NearDuplicate]
    """If it is nearly another item, of this or another label."""


@described
class EnrollmentResult(TypedDict):
    """What became of all pictures."""

    items: list[EnrolledItem]
    gallery: GalleryUsed
    activated: NotRequired[bool]
    """Whether that version was put in force; jobs of earlier releases don't say it: theirs were."""
    models: dict[str, ModelUsed | None]


@described
class KeptPhoto(TypedDict):
    """The photo of a recognition; of one that is still to be fetched from its URL all but the name is null."""

    key: str | None
    name: str
    width: int | None
    height: int | None
    format: str | None


@described
class RecognitionJobRequest(TypedDict):
    """What was requested; `options` has what the client named."""

    gallery: str
    galleries: NotRequired[list[str]]
    """All that are searched, if they are several; `gallery` is the first."""
    version: NotRequired[int]
    """Of a job that compares: the version that is searched; else the one in force."""
    compared: NotRequired[Compared]
    """Of a job that compares: the old answer."""
    filter: NotRequired[list[str]]
    """Only items whose metadata meets all of these are searched."""
    image: KeptPhoto
    options: dict[str, Any]
    origin: NotRequired[str]
    """Of a photo in a bucket that became a job through a function: where it was put, `s3://BUCKET/KEY`."""


@described
class RequestedItem(TypedDict):
    """One picture of the request: where it is kept, or why it was refused; neither while it is still to be fetched."""

    name: str
    label: str
    image_key: NotRequired[str]
    """Where the picture is kept; not of a refused one."""
    sha256: NotRequired[str]
    """Of the picture's bytes; not of a refused one."""
    job: NotRequired[str]
    """The recognition whose photo it is."""
    box: NotRequired[Box | None]
    """With `job`: the part of its photo that is enrolled, with a margin as it is searched; null: all of it."""
    metadata: NotRequired[dict[str, str]]
    """The item's, if it has some."""
    error: NotRequired[JobError]
    """Why it can't be used; `result.items` repeats it in its place."""


@described
class EnrollmentJobRequest(TypedDict):
    """What was requested; the other pictures of the request are added though one is refused."""

    gallery: str
    items: list[RequestedItem]
    crop: NotRequired[Crop]
    skip_near_duplicates: NotRequired[bool]
    activate: NotRequired[bool]


@described
class RecognitionJob(JobState):
    """A recognition."""

    request: RecognitionJobRequest
    result: RecognitionResult | None


@described
class EnrollmentJob(JobState):
    """An enrolment."""

    request: EnrollmentJobRequest
    result: EnrollmentResult | None


@described
class RecognitionPage(TypedDict):
    """Recognitions, the newest first; `next_after` is the `after` of the next page, null on the last."""

    recognitions: list[RecognitionJob]
    next_after: str | None


@described
class EnrollmentPage(TypedDict):
    """Enrolments, likewise."""

    enrollments: list[EnrollmentJob]
    next_after: str | None

"""What the service answers, as pydantic models: read only to describe it in /openapi.json. Tests hold answers to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Box = list[float]


class Answer(BaseModel):
    """Members may be added in later versions: clients ignore what they do not know."""

    model_config = ConfigDict(extra="allow")


class FieldError(Answer):
    """One mistake in a request."""

    pointer: str = Field(description="JSON pointer into what was sent; of a form, the field's name.")
    detail: str


class Problem(Answer):
    """An error, by RFC 9457."""

    type: str = Field(description="The code as a URI.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; what programs should look at.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str | None = None
    errors: list[FieldError] | None = None


class JobLinks(BaseModel):
    """Where to go from a job."""

    model_config = ConfigDict(populate_by_name=True)

    itself: str = Field(alias="self")
    cancel: str
    events: str


class Match(Answer):
    """A near picture of the gallery."""

    label: str
    similarity: float
    item_id: str
    image_key: str


class Candidate(Answer):
    """A label that a body may be, with the item that speaks for it most."""

    label: str
    probability: float = Field(description="How likely the label is right: an estimate.")
    similarity: float
    item_id: str
    image_key: str


class Verification(Answer):
    """The local features of a crop that agree with those of an item's picture."""

    inliers: int = Field(description="How many agree on one place, turn and size.")
    points: list[tuple[float, float, float, float]] = Field(
        description="Some of the pairs: x, y as shares of the photo's width and height, then of the item's picture's, "
        "or of its `item_box` where it has one."
    )
    item_id: str | None = Field(description="The item whose picture agrees most; null if none does.")
    item_box: Box | None = Field(description="The part of its picture that was enrolled; null: all of it.")


class RecognizedBody(Answer):
    """One recognised body: `box` is x1, y1, x2, y2 in pixels of the upright photo, x2 and y2 exclusive."""

    box: Box
    confidence: float | None = Field(description="The detector's; null for the whole photo.")
    source: Literal["detection", "whole_image"]
    label: str
    similarity: float
    probability: float = Field(description="How likely the label is right: an estimate.")
    matches: list[Match]
    candidates: list[Candidate] = Field(description="The best guesses, each of another label, best first.")
    verification: Verification | None = Field(description="With the item that answers; null if it was not compared.")


class DroppedBody(Answer):
    """A body that was seen and not recognised, and why; its `candidates` are for a person to confirm one."""

    box: Box
    confidence: float | None
    source: Literal["detection", "whole_image"]
    reason: Literal[
        "below_min_precision",
        "unlike_whole_image",
        "below_similarity_threshold",
        "suppressed",
        "empty_gallery",
        "no_match",
        "invalid_embedding",
    ]
    matches: list[Match]
    candidates: list[Candidate] = Field(description="The best guesses, each of another label, best first.")
    verification: Verification | None = Field(
        description="With an item of the first candidate; null if it was not compared."
    )
    suppressed_by: Box | None = Field(
        None,
        description="With `suppressed`: the box of the likelier one that it overlaps (with `compat`, of the more similar).",
    )


class Size(Answer):
    """Pixels."""

    width: int
    height: int


class GalleryUsed(Answer):
    """The version of the gallery that was searched or made."""

    name: str
    version: int
    items: int


class ModelUsed(Answer):
    """A model by name and content, and the engine and precision that ran it."""

    name: str
    digest: str
    engine: Literal["openvino", "paddle"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]


class PaddleClasBody(BaseModel):
    """A recognised body as PaddleClas tells it."""

    bbox: Box
    rec_docs: str
    rec_scores: float


class Decision(Answer):
    """How it was decided what is an answer: the threshold in force, and how it came about."""

    min_precision: float | None = Field(description="The wanted share of right answers; null if a similarity decided.")
    probability_threshold: float | None = Field(description="The least probability of an answer that follows from it.")
    similarity_threshold: float | None = Field(description="The least similarity of an answer, where that decided.")
    calibration: Literal["gallery", "embedder"] = Field(
        description="Whose probabilities: the gallery's, fitted when pictures were last added, or the embedder's for any."
    )
    calibration_queries: int = Field(description="On how many queries they were fitted.")
    verify: Literal["auto", "always", "never"]
    verified: int = Field(description="How many bodies had their local features compared.")


class RecognitionResult(Answer):
    """What was found."""

    image: Size
    gallery: GalleryUsed
    models: dict[str, ModelUsed | None]
    recognitions: list[RecognizedBody]
    dropped: list[DroppedBody]
    reason: Literal["empty_gallery", "nothing_detected", "nothing_recognized"] | None
    decision: Decision
    timings_ms: dict[str, float]
    paddleclas: list[PaddleClasBody] | None = Field(
        None, description="With the option `compat` at `paddleclas`: `recognitions` in PaddleClas' format."
    )


class EnrolledItem(Answer):
    """What became of one picture."""

    name: str
    status: Literal["added", "duplicate", "rejected"]
    item_id: str | None
    label: str
    error: dict[str, Any] | None


class EnrollmentResult(Answer):
    """What became of all pictures."""

    items: list[EnrolledItem]
    gallery: GalleryUsed
    models: dict[str, ModelUsed | None]


class WebhookState(Answer):
    """How far the telling has come."""

    url: str
    status: Literal["pending", "delivered", "failed", "disabled"]
    attempts: int
    last_status: int | None
    id: str | None = Field(description="The webhook-id of its message; null until the job ends.")


class JobError(Answer):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool
    attempts: int | None = Field(None, description="With `job_poisoned`: how often it was tried.")


class Job(Answer):
    """A job: the same JSON in the poll, the event stream and the webhook's `data`."""

    id: str
    kind: Literal["recognition", "enrollment"]
    status: Literal["queued", "processing", "succeeded", "failed", "canceled"]
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str | None
    attempts: int
    cancel_requested: bool
    progress: dict[str, Any] | None
    links: JobLinks
    request: dict[str, Any]
    error: JobError | None
    webhook: WebhookState | None


class RecognitionJob(Job):
    """A recognition."""

    result: RecognitionResult | None


class AskedItem(Answer):
    """One picture of the request: where it is kept, or why its header was refused."""

    name: str
    label: str
    image_key: str | None = Field(None, description="Where the picture is kept; not of a refused one.")
    sha256: str | None = Field(None, description="Of the picture's bytes; not of a refused one.")
    error: JobError | None = Field(None, description="Why it can't be used; `result.items` repeats it in its place.")


class EnrollmentAsked(Answer):
    """What was asked for; the other pictures of the request are added though one is refused."""

    gallery: str
    items: list[AskedItem]
    crop: Literal["whole", "main_body"] = "whole"


class EnrollmentJob(Job):
    """An enrolment."""

    request: EnrollmentAsked  # type: ignore[assignment]  # narrower; these are only described from, never assigned
    result: EnrollmentResult | None


class GalleryLinks(BaseModel):
    """Where to go from a gallery."""

    itself: str = Field(alias="self")
    items: str
    versions: str


class Gallery(Answer):
    """A version of a gallery; without pictures it belongs to no embedder yet."""

    name: str
    version: int
    item_count: int
    created_at: str
    embedder_digest: str | None
    dim: int | None
    links: GalleryLinks


class GalleryList(Answer):
    """All galleries by name."""

    galleries: list[Gallery]


class ItemLinks(BaseModel):
    """Where an item's picture is."""

    image: str


class Item(Answer):
    """A labelled picture."""

    id: str
    label: str
    sha256: str
    box: Box | None
    added_at: str
    links: ItemLinks


class ItemPage(Answer):
    """One page of items; `next_after` is the `after` of the next page, null on the last."""

    gallery: str
    version: int
    total: int
    items: list[Item]
    next_after: str | None


class VersionList(Answer):
    """All versions of a gallery that can be gone back to."""

    gallery: str
    current: int
    versions: list[Gallery]


class Health(Answer):
    """The process lives."""

    status: Literal["ok"]


class Check(Answer):
    """One condition of readiness."""

    ok: bool
    detail: str


class Readiness(Answer):
    """Whether jobs are accepted and worked on."""

    status: Literal["ready", "not_ready"]
    detail: str
    checks: dict[str, Check]

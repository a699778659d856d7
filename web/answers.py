"""What the service answers besides jobs (contracts.results), as JSON: the views build these records, mypy holds them to it.

/openapi.json is generated from them, and tests hold real answers to it. The strings below the members are their
descriptions there.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from contracts.indexes import GalleryIndex
from contracts.jobs import described
from contracts.results import ModelUsed
from contracts.usage import Box


@described
class FieldError(TypedDict):
    """One mistake in a request."""

    pointer: str
    """JSON pointer into what was sent; of a form, the field's name."""
    detail: str


@described
class Problem(TypedDict):
    """An error, by RFC 9457."""

    type: str
    """The code as a URI."""
    title: str
    status: int
    detail: str
    code: str
    """Stable; what programs should look at."""
    retryable: bool
    """Whether the same request may succeed later."""
    request_id: NotRequired[str]
    trace_id: NotRequired[str]
    """Of the W3C trace that the request belongs to."""
    errors: NotRequired[list[FieldError]]


class GalleryLinks(TypedDict):
    """Where to go from a gallery."""

    self: str
    items: str
    versions: str


@described
class Gallery(TypedDict):
    """A version of a gallery; without pictures it belongs to no embedder yet."""

    name: str
    version: int
    item_count: int
    created_at: str
    embedder_digest: str | None
    dim: int | None
    index: GalleryIndex
    links: GalleryLinks


@described
class GalleryList(TypedDict):
    """All galleries by name."""

    galleries: list[Gallery]


class ItemLinks(TypedDict):
    """Where an item's picture is."""

    image: str


@described
class Item(TypedDict):
    """A labelled picture."""

    id: str
    label: str
    sha256: str
    box: Box | None
    added_at: str
    metadata: dict[str, str]
    similarity: NotRequired[float]
    """With `like`: to that item, the inner product of their embeddings."""
    links: ItemLinks


@described
class ItemPage(TypedDict):
    """One page of items; `next_after` is the `after` of the next page, null on the last."""

    gallery: str
    version: int
    total: int
    items: list[Item]
    next_after: str | None


@described
class Label(TypedDict):
    """A label of a gallery: how many items bear it, and the first of them, to show."""

    label: str
    item_count: int
    item_id: str


@described
class LabelPage(TypedDict):
    """One page of labels in alphabetical order; `next_after` is the `after` of the next page, null on the last."""

    gallery: str
    version: int
    labels: list[Label]
    next_after: str | None


@described
class RenamedGallery(Gallery):
    """The version of a gallery that has items under another label."""

    changed: int
    """How many items bear the label now that were named."""
    duplicates: int
    """How many of them were there under that label already, and are one with those now."""


@described
class RenamedItem(RenamedGallery):
    """The version of a gallery that has an item under another label."""

    item_id: str
    """The item's id now: it follows from the content, the label too."""


@described
class MovedItems(TypedDict):
    """The versions of both galleries."""

    source: Gallery
    target: Gallery
    moved: int
    duplicates: int
    """How many of `moved` the target had already."""


class FeedbackLinks(TypedDict):
    """Where the photo is, kept for as long as the feedback."""

    image: str


@described
class Feedback(TypedDict):
    """What somebody said of an answer."""

    id: str
    job_id: str
    gallery: str
    version: int
    """Of the gallery, that answered."""
    box: Box | None
    """In pixels of the upright photo; null: the whole photo."""
    verdict: Literal["right", "wrong", "ignore"]
    answer: str | None
    """The label that was answered there."""
    label: str | None
    """The right label, if that is known."""
    created_at: str
    image_key: str
    """Where the photo is kept."""
    width: int
    """Of the upright photo, in pixels."""
    height: int
    links: FeedbackLinks


class FeedbackCounts(TypedDict):
    """How many entries there are of each verdict."""

    right: int
    wrong: int
    ignore: int


@described
class FeedbackPage(TypedDict):
    """Feedback in the order of its coming; `next_after` is the `after` of the next page, null on the last."""

    gallery: str
    feedback: list[Feedback]
    counts: FeedbackCounts
    """Of all that were made, whatever the page shows."""
    next_after: str | None


@described
class JobFeedback(TypedDict):
    """All that was said of a job's answers, in the order of its coming."""

    feedback: list[Feedback]


@described
class RestoredItems(Gallery):
    """The version of a gallery that has items of an earlier one again."""

    restored: int
    """How many came back."""
    duplicates: int
    """How many were there."""


@described
class GalleryVersion(Gallery):
    """A version among others."""

    staged: bool
    """Whether it never was in force: made without activation, to be looked at first."""


@described
class VersionList(TypedDict):
    """The versions of a gallery that can be gone back to, or forth to."""

    gallery: str
    current: int
    versions: list[GalleryVersion]


@described
class Health(TypedDict):
    """The process lives."""

    status: Literal["ok"]


@described
class Check(TypedDict):
    """One condition of readiness."""

    ok: bool
    detail: str
    code: NotRequired[str]
    """Of the error, where a request would get one."""


@described
class Readiness(TypedDict):
    """Whether jobs are accepted and worked on."""

    status: Literal["ready", "not_ready"]
    detail: str
    checks: dict[str, Check]


@described
class KnownEmbedder(TypedDict):
    """An embedder by name and content."""

    name: str
    digest: str


@described
class WorkerState(TypedDict):
    """A worker that says it is ready; `models`: its networks by their part, null where there is none."""

    name: str
    queues: list[str]
    models: dict[str, ModelUsed | None]
    embedders: list[KnownEmbedder]
    """All that it has, the default first: what galleries can belong to."""


class QueueState(TypedDict):
    """A queue: messages not yet taken, and the seconds since a worker took one; null: none ever did."""

    name: str
    messages: int
    consumed_age_s: float | None


class FinishedJobs(TypedDict):
    """How many jobs of a kind ever ended so."""

    kind: str
    status: str
    count: int


@described
class System(TypedDict):
    """The service as it is now."""

    version: str
    workers: list[WorkerState]
    queues: list[QueueState]
    queued: int
    processing: int
    oldest_queued_age_s: float
    finished: list[FinishedJobs]
    webhooks_pending: int

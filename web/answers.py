"""What the service answers besides jobs (contracts.results), as JSON: the views build these records, mypy holds them to it.

/openapi.json is generated from them, and tests hold real answers to it. The strings below the members are their
descriptions there.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import described
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
class VersionList(TypedDict):
    """All versions of a gallery that can be gone back to."""

    gallery: str
    current: int
    versions: list[Gallery]


@described
class Health(TypedDict):
    """The process lives."""

    status: Literal["ok"]


@described
class Check(TypedDict):
    """One condition of readiness."""

    ok: bool
    detail: str


@described
class Readiness(TypedDict):
    """Whether jobs are accepted and worked on."""

    status: Literal["ready", "not_ready"]
    detail: str
    checks: dict[str, Check]

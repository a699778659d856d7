"""What the gallery linter answers, as JSON: the same over HTTP and on the command line."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import JobState, described
from contracts.usage import Box, GalleryUsed

Kind = Literal[
    "same_picture",
    "two_labels",
    "mislabelled",
    "duplicate",
    "outlier",
    "several_objects",
    "confusion",
    "near_duplicate",
    "similar_pictures",
    "few_pictures",
]
Level = Literal["error", "warning", "info"]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # in the order in which findings are reported
LEVELS: tuple[Level, ...] = Level.__args__  # type: ignore[attr-defined]  # the worst first


class LintedLinks(TypedDict):
    """Where an item's picture is."""

    image: str


@described
class LintedItem(TypedDict):
    """An item that a finding is about."""

    id: str
    label: str
    box: Box | None
    links: LintedLinks


@described
class Fix(TypedDict):
    """The one request that mends it, and the same as a command."""

    method: Literal["DELETE", "PATCH", "POST"]
    path: str
    """With the query, if there is one."""
    content_type: Literal["application/json", "multipart/form-data"] | None
    """How `body` is sent; of multipart/form-data the pictures are yours to add, as files `images`."""
    body: dict[str, Any] | None
    command: str
    """For a shell; add `--server` to reach a service."""


@described
class Finding(TypedDict):
    """One thing that makes a gallery answer worse."""

    kind: Kind
    level: Level
    message: str
    labels: list[str]
    """Of `confusion`: the right one, then what is answered. Of `mislabelled`: the present one, then the likely one."""
    items: list[LintedItem]
    """Those to look at, side by side: the one that is doubted first."""
    similarity: float | None
    """Of the two items' embeddings."""
    count: int | None
    """Of `confusion`: how many items of the first label are taken for the second. Of `several_objects`: the objects."""
    of: int | None
    """Of `confusion`: of how many that were searched."""
    fix: Fix


class Skipped(TypedDict):
    """A kind of finding that was not looked for."""

    kind: Kind
    reason: str


class LevelCounts(TypedDict):
    """How many findings of each level there are."""

    error: int
    warning: int
    info: int


@described
class Lint(TypedDict):
    """What a version of a gallery has in it that is better mended; one page of findings, the worst first."""

    gallery: str
    version: int
    item_count: int
    checked_items: int
    """How many were compared with all others so far."""
    complete: bool
    """Whether all were. If not, there are no findings yet: a worker is at it, ask again."""
    job: NotRequired[str]
    """The id of the job that is at it; it can be followed at /v1/lints. Not of a complete answer."""
    levels: LevelCounts
    kinds: dict[str, int]
    """How many findings of each kind there are, whatever the page shows."""
    findings: list[Finding]
    skipped: list[Skipped]
    next_after: NotRequired[str | None]
    """The `after` of the next page, null on the last."""


@described
class LintJobRequest(TypedDict):
    """Which version is checked."""

    gallery: str
    version: int
    objects: NotRequired[bool]
    """Whether its pictures are looked at, too."""


@described
class LintResult(TypedDict):
    """How much was found; the findings themselves are kept with the gallery."""

    gallery: GalleryUsed
    levels: LevelCounts
    kinds: dict[str, int]


@described
class LintJob(JobState):
    """A version that is being checked. While it is, `progress` has `done` and `total`."""

    request: LintJobRequest
    result: LintResult | None

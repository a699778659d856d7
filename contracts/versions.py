"""What two versions of a gallery are compared by, as JSON: the items that differ, and the answers that would."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import JobState, described
from contracts.results import ModelUsed
from contracts.usage import Box, GalleryUsed

ChangeKind = Literal["removed", "relabelled", "moved", "added"]
CHANGES: tuple[ChangeKind, ...] = ChangeKind.__args__  # type: ignore[attr-defined]  # in the order in which they are reported
QueryKind = Literal["item", "feedback"]
Effect = Literal["gained", "lost"]


@described
class ChangedItem(TypedDict):
    """An item as it was in one of the versions."""

    id: str
    label: str
    box: Box | None


@described
class VersionChange(TypedDict):
    """One change; `before` is null of an item that was added, `after` of one that was removed."""

    kind: ChangeKind
    sha256: str
    """Of the picture."""
    before: ChangedItem | None
    after: ChangedItem | None


@described
class ChangeCounts(TypedDict):
    """How many items."""

    removed: int
    relabelled: int
    moved: int
    added: int
    unchanged: int


@described
class LabelChange(TypedDict):
    """A label with another number of items."""

    label: str
    before: int
    after: int


@described
class VersionDiff(TypedDict):
    """What is different in version `to`; one page of changes."""

    gallery: str
    version: int
    to: int
    counts: ChangeCounts
    """Of all changes, whatever the page shows."""
    labels: list[LabelChange]
    """The labels with another number of items; on the first page alone, at most 1000."""
    changes: list[VersionChange]
    next_after: str | None


@described
class Score(TypedDict):
    """How many queries were answered with the right label."""

    queries: int
    right: int
    recall_at_1: float | None
    """null without queries."""


@described
class Compared(TypedDict):
    """The same queries, searched in both versions."""

    version: Score
    against: Score
    gained: int
    """Answered right by the version alone."""
    lost: int
    """Answered right by the other alone."""


@described
class AnswerChange(TypedDict):
    """A query that one of the versions alone answers right."""

    query: QueryKind
    id: str
    """Of the item, or of the feedback."""
    label: str
    """The right one."""
    effect: Effect
    before: str | None
    """What the other version answers; null: it has no item."""
    after: str | None
    """What this version answers."""


@described
class EvaluationResult(TypedDict):
    """A version compared with another one."""

    version: GalleryUsed
    against: GalleryUsed
    leave_one_out: Compared
    """Items of both versions with a second picture of their label in both, each searched without itself."""
    feedback: Compared
    """What people said of answers, where the right label is known and an item of it is there; searched without items of that photo."""
    unusable_feedback: int
    """Judgements whose photo could not be read or embedded."""
    changes: list[AnswerChange]
    """The first thousand, lost ones first."""
    models: dict[str, ModelUsed | None]


@described
class EvaluationJobRequest(TypedDict):
    """What was requested."""

    gallery: str
    version: int
    against: NotRequired[int]


@described
class EvaluationJob(JobState):
    """An evaluation of a version. While it runs, `progress` has `done` and `total`."""

    request: EvaluationJobRequest
    result: EvaluationResult | None


@described
class EvaluationPage(TypedDict):
    """Evaluations, the newest first; `next_after` is the `after` of the next page, null on the last."""

    evaluations: list[EvaluationJob]
    next_after: str | None

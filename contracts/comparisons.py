"""An old answer compared with a new one for the same photo: which part's answer changed, and how. Pure data and rules on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import described
from contracts.usage import Box, GalleryUsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Change = Literal["relabeled", "lost", "gained", "same", "unanswered"]
ORDER: tuple[Change, ...] = ("relabeled", "lost", "gained", "same", "unanswered")
SAME_PART = 0.5  # intersection over union from which two boxes are of one part


@described
class Standing(TypedDict):
    """What was said of a part."""

    answered: bool
    label: str | None
    """The answer, or the best guess where none was given."""
    similarity: float | None
    probability: float | None
    reason: str | None
    """Why there was no answer."""
    gallery: NotRequired[str]
    """Where several were searched."""


@described
class PlacedStanding(TypedDict):
    """What was said of a part, and where in the photo that is."""

    box: Box
    source: str
    standing: Standing


@described
class Compared(TypedDict):
    """The old answer, as the new job's request keeps it: it outlives the old job."""

    job: str
    galleries: list[GalleryUsed]
    parts: list[PlacedStanding]


@described
class PartChange(TypedDict):
    """A part before and after; null where that part was not looked at, or its best guess left no trace."""

    change: Change
    box: Box
    before: Standing | None
    after: Standing | None


@described
class Difference(TypedDict):
    """What changed against the old job, what changed most first."""

    job: str
    before: list[GalleryUsed]
    after: list[GalleryUsed]
    counts: dict[Change, int]
    parts: list[PartChange]


def galleries_of(result: Mapping[str, Any]) -> list[GalleryUsed]:
    """What a recognition's result searched."""
    return list(result.get("galleries") or [result["gallery"]])


def standings_of(result: Mapping[str, Any]) -> list[PlacedStanding]:
    """What a recognition's result says of each of its parts."""
    found: list[PlacedStanding] = []
    for one in (*result["recognitions"], *result["dropped"]):
        best: Mapping[str, Any] = next(iter(one.get("candidates") or ()), {})
        reason = one.get("reason")
        record = best if reason else one
        standing: Standing = {
            "answered": reason is None,
            "label": record.get("label"),
            "similarity": record.get("similarity"),
            "probability": record.get("probability"),
            "reason": reason,
        }
        if "gallery" in record:
            standing["gallery"] = record["gallery"]
        found.append({"box": one["box"], "source": one["source"], "standing": standing})
    return found


def difference(compared: Compared, result: Mapping[str, Any]) -> Difference:
    """The old answer against a new `result`."""
    parts = []
    for old, new in _pairs(compared["parts"], standings_of(result)):
        before = old["standing"] if old else None
        after = new["standing"] if new else None
        box = (new or old or {"box": []})["box"]
        parts.append(PartChange(change=_change(before, after), box=box, before=before, after=after))
    counts = Counter(part["change"] for part in parts)
    return {
        "job": compared["job"],
        "before": compared["galleries"],
        "after": galleries_of(result),
        "counts": {change: counts[change] for change in ORDER},
        "parts": sorted(parts, key=lambda part: ORDER.index(part["change"])),
    }


def _pairs(
    old: Sequence[PlacedStanding], new: Sequence[PlacedStanding]
) -> Iterator[tuple[PlacedStanding | None, PlacedStanding | None]]:
    """The parts of one place, those that overlap most first; then those that have no counterpart."""
    close = [
        (_overlap(one["box"], other["box"]), at, to)
        for at, one in enumerate(old)
        for to, other in enumerate(new)
        if one["source"] == other["source"]
    ]
    left, right = set(range(len(old))), set(range(len(new)))
    for overlap, at, to in sorted(close, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if overlap >= SAME_PART and at in left and to in right:
            left.remove(at)
            right.remove(to)
            yield old[at], new[to]
    yield from ((old[at], None) for at in sorted(left))
    yield from ((None, new[to]) for to in sorted(right))


def _change(before: Standing | None, after: Standing | None) -> Change:
    was = before["label"] if before and before["answered"] else None
    now = after["label"] if after and after["answered"] else None
    if was is None and now is None:
        return "unanswered"
    if was is None or now is None:
        return "gained" if was is None else "lost"
    return "same" if was == now else "relabeled"


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / union if union > 0 else 0.0

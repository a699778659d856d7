"""Whether a picture shows several objects that stand apart: what makes a bad picture of one product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class Detected(Protocol):
    """An object as a detector reports it."""

    @property
    def box(self) -> Sequence[int]: ...

    @property
    def confidence(self) -> float: ...


D = TypeVar("D", bound=Detected)

CONFIDENT, SIZABLE = 0.6, 0.1  # an object that counts: how certain, and its share of the picture
APART = 0.2  # the share of the smaller one that two objects may have in common


def separate_objects(detections: Sequence[D], pixels: int) -> list[D]:
    """The certain and large ones of a picture of so many pixels that stand apart from each other, the most certain first."""
    kept: list[D] = []
    for one in sorted(detections, key=lambda found: -found.confidence):
        apart = all(_shared(one.box, other.box) <= APART * min(_area(one.box), _area(other.box)) for other in kept)
        if apart and one.confidence >= CONFIDENT and _area(one.box) >= SIZABLE * pixels:
            kept.append(one)
    return kept


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(one: Sequence[int], two: Sequence[int]) -> int:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    return max(0, width) * max(0, height)

"""Where the tags of boxes go, so that they hide as little as can be: neither other tags nor neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Rectangle = tuple[float, float, float, float]  # x1, y1, x2, y2
TAG, OTHER, OWN = 4.0, 1.0, 0.02  # how bad it is to cover a pixel of another tag, of another box, of the tag's own box


def shared(one: Rectangle, other: Rectangle) -> float:
    """Of two rectangles the pixels that are in both."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def places(box: Rectangle, width: float, height: float, size: tuple[int, int]) -> list[Rectangle]:
    """Where a tag of `width` x `height` may go by its box, the usual place first, each within a picture of `size`."""
    x1, y1, x2, y2 = box
    corners = [
        (x1, y1 - height), (x2 - width, y1 - height),  # above
        (x1, y1), (x2 - width, y1), (x1, y2 - height), (x2 - width, y2 - height),  # within, at its corners
        (x1, y2), (x2 - width, y2),  # below
        (x2, y1), (x1 - width, y1), (x2, y2 - height), (x1 - width, y2 - height),  # at its sides
    ]  # fmt: skip
    found = []
    for x, y in corners:
        left = min(max(0.0, x), max(0.0, size[0] - width))
        top = min(max(0.0, y), max(0.0, size[1] - height))
        found.append((left, top, left + width, top + height))
    return found


def placed(
    at: int, boxes: Sequence[Rectangle], tags: Sequence[Rectangle], width: float, height: float, size: tuple[int, int]
) -> tuple[float, Rectangle]:
    """The best place of the tag of box `at` among `boxes`, given the `tags` that stand already, and what it hides there.

    What it hides is zero where it covers no other tag and no other box; of its own box it may cover a little.
    """
    best: tuple[float, float, Rectangle] | None = None
    for place in places(boxes[at], width, height, size):
        hides = TAG * sum(shared(place, tag) for tag in tags)
        hides += OTHER * sum(shared(place, box) for number, box in enumerate(boxes) if number != at)
        cost = hides + OWN * shared(place, boxes[at])
        if best is None or cost < best[0]:
            best = (cost, hides, place)
    if best is None:
        raise ValueError("a box has no place for its tag")
    return best[1], best[2]

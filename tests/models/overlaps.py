"""How much two boxes overlap, counted the slow way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Counted pixel by pixel; both corners belong to a box."""

    def pixels(box: Sequence[int]) -> set[tuple[int, int]]:
        return set(itertools.product(range(box[0], box[2] + 1), range(box[1], box[3] + 1)))

    return len(pixels(one) & pixels(other)) / len(pixels(one) | pixels(other))

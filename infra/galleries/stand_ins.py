"""Items of an index that came without their pictures, and the same ones again, with pictures or without.

Such an item's digest is of its line and its vector (a stand-in for the picture's), so the digests of the two differ: they
are the same by label and vector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import Item, Segment


def known_by_vector(
    old: Sequence[Item],
    old_rows: NDArray[np.float32],
    items: Sequence[Item],
    rows: NDArray[np.float32],
    stand_ins: Collection[str],
) -> tuple[set[int], set[str]]:
    """The places of those of `items` that are among `old`, and the ids of old ones whose picture comes with `items` now.

    `old_rows` (M, D) and `rows` (N, D) are their vectors; `stand_ins` are digests that stand for pictures that did not come.
    """
    there: dict[tuple[str, bytes], list[Item]] = {}
    for item, row in zip(old, old_rows, strict=True):
        there.setdefault((item.label, row.tobytes()), []).append(item)
    known: set[int] = set()
    completed: set[str] = set()
    for place, item in enumerate(items):
        alike = there.get((item.label, rows[place].astype(np.float32).tobytes()), [])
        if item.sha256 in stand_ins:
            if alike:
                known.add(place)
            continue
        bare = next((one.id for one in alike if one.sha256 in stand_ins and one.id not in completed), None)
        if bare is not None and all(one.sha256 != item.sha256 for one in alike):
            completed.add(bare)
    return known, completed


def without(segments: Sequence[tuple[Segment, Sequence[Item]]], gone: Collection[str]) -> tuple[Segment, ...]:
    """The segments, each with its items, less those whose ids are `gone`; one that has none left is left out."""
    return tuple(
        replace(segment, removed=(*segment.removed, *(item.id for item in items if item.id in gone)))
        for segment, items in segments
        if any(item.id not in gone for item in items)
    )

"""Which new pictures a gallery has nearly already: by their embeddings, before they are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from models.galleries.gallery import Gallery, LabeledItem

SAME = 0.97  # as the gallery linter: the median re-compressed picture is as like its original, and others seldom

NEAREST = 5  # looked at of the gallery: a picture may be near to some of several labels


@dataclass(frozen=True)
class Near:
    """The item that a new one nearly is. `skipped`: the new one is left out for it."""

    item_id: str
    label: str
    similarity: float
    skipped: bool = False


def near_duplicates(
    gallery: Gallery,
    items: Sequence[LabeledItem],
    rows: NDArray[np.float32],
    own: Collection[str] = (),
    *,
    skip: bool = False,
) -> list[Near | None]:
    """For each new item with its row (N, D) the nearest of the gallery and of those before it, if it is nearly the same.

    With `skip` one of the same label is left out, so that none after it is compared with it; of another label it is only
    reported, for which label is right is not to be guessed. `own` are ids that count as new though the gallery has them: of an
    attempt before. A new item's own id is never its near duplicate.
    """
    passed = {item.id for item in items} | set(own)
    found: list[Near | None] = []
    kept = np.zeros(len(items), bool)
    spare = len(gallery.find_all(passed))
    gallery = gallery.by_pictures()
    near = gallery.search(rows, NEAREST + spare) if len(gallery) and len(items) else [[] for _ in items]
    for at, (item, matches) in enumerate(zip(items, near, strict=True)):
        there = [(one.similarity, one.item) for one in matches if one.item.id not in passed]
        before = rows[:at] @ rows[at]
        there += [(float(before[one]), items[one]) for one in np.flatnonzero(kept[:at] & (before >= SAME)).tolist()]
        same = [one for one in there if one[0] >= SAME]
        # Of its own label where there is one: that is what makes it superfluous.
        like, other = max(same, key=lambda one: (one[1].label == item.label, one[0]), default=(0.0, None))
        if other is None:
            found.append(None)
            kept[at] = True
            continue
        skipped = skip and other.label == item.label
        found.append(Near(other.id, other.label, round(min(1.0, like), 6), skipped))
        kept[at] = not skipped
    return found

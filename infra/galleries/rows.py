"""What a gallery keeps of its items beside their descriptions, row by row: embeddings, views, features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from infra.galleries.files import item_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import Item


@dataclass(frozen=True)
class Rows:
    """What is stored of items beside themselves: `views` None, and features empty, where there are none."""

    embeddings: NDArray[np.float32]
    views: NDArray[np.float32] | None
    features: Sequence[bytes]

    def take(self, rows: Sequence[int]) -> Rows:
        chosen = list(rows)
        views = None if self.views is None else self.views[chosen]
        return Rows(self.embeddings[chosen], views, [self.features[row] for row in chosen] if self.features else ())

    def __add__(self, other: Rows) -> Rows:
        views = None
        if self.views is not None or other.views is not None:
            views = np.concatenate([_or_zeros(part) for part in (self, other)])
        embeddings = np.concatenate([self.embeddings, other.embeddings])
        return Rows(embeddings, views, [*self.features, *other.features])


def checked_rows(
    items: Sequence[Item],
    embeddings: NDArray[np.float32],
    views: NDArray[np.float32] | None,
    features: Sequence[bytes] | None,
) -> Rows:
    """What `GalleryStore.add` was given, if it fits together. Raises ValueError."""
    rows = np.asarray(embeddings, np.float32)
    if rows.ndim != 2 or rows.shape[0] != len(items) or (len(items) and not rows.shape[1]):
        raise ValueError(f"{len(items)} items need embeddings ({len(items)}, D), not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("an embedding is not finite")
    for item in items:
        if item.id != item_id(item.sha256, item.label, item.box):
            raise ValueError("an item's id does not follow from its content")
    if views is not None:
        views = np.asarray(views, np.float32)
        if views.shape != rows.shape or not np.isfinite(views.astype(np.float16)).all():
            raise ValueError("the views of embeddings have their shape and are finite")
    if features is not None and len(features) != len(items):
        raise ValueError(f"{len(items)} items need as many features, not {len(features)}")
    return Rows(rows, views, [b""] * len(items) if features is None else features)


def _or_zeros(rows: Rows) -> NDArray[np.float32]:
    return np.zeros_like(rows.embeddings) if rows.views is None else rows.views

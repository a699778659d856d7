"""Several galleries searched as one: a photo is embedded once, and each answer names the gallery that it comes from.

All must be of one embedder, so that their similarities mean the same and are merged by them. A label that several
galleries have is one label, with the pictures of all: what a shop has twice does not compete with itself. The fit of one
gallery's probabilities does not hold for all of them together: the embedder's own does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import GalleryError
from models.galleries.gallery import Gallery
from models.galleries.items import ItemRow, labels_of, place_of, with_metadata
from models.galleries.label_scores import LabelScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from contracts.filters import Filter
    from models.galleries.gallery import LabeledItem


@dataclass(frozen=True)
class JoinedItem:
    """An item and the name of its gallery; `source` counts galleries, for two may have one name."""

    id: str
    label: str
    gallery: str
    source: int
    image_key: str | None = None
    box: tuple[int, int, int, int] | None = None
    metadata: Mapping[str, str] | None = field(default=None, hash=False)


class JoinedGallery(Gallery):
    """Galleries as one. Immutable; it holds on to them and copies no embedding. Raises GalleryError.

    Without an item in any of them it is empty. Binary ones that are not re-ranked can be joined among themselves alone.
    """

    def __init__(self, galleries: Sequence[Gallery]) -> None:
        filled = [one for one in galleries if len(one)]
        dims = {one.dim for one in filled}
        if len(dims) > 1:
            raise GalleryError(f"Galleries of {', '.join(map(str, sorted(dims)))} dimensions are not of one embedder.")
        if len({one.calibratable for one in filled}) > 1:
            raise GalleryError(
                "Galleries of binary codes and of floats can't be searched as one, unless the codes are re-ranked."
            )
        dim = dims.pop() if dims else 0
        super().__init__((), np.empty((0, dim), np.float32), "+".join(one.name for one in galleries))
        self.galleries = tuple(galleries)
        self.calibratable = all(one.calibratable for one in filled)
        if len(galleries) == 1:
            self.calibration = galleries[0].calibration
        self._starts = np.cumsum([0, *(len(one) for one in galleries)])
        self.items = JoinedItems(galleries, self._starts.tolist())
        parts = [one.embeddings() for one in filled]
        rows = [part for part in parts if part is not None]
        known = np.concatenate(rows) if rows and len(rows) == len(parts) else None
        self._labels = LabelScores(list(self.items.labels()), known)

    def embeddings(self) -> NDArray[np.float32] | None:
        """(N, D) of all galleries; None where one has none."""
        parts = [one.embeddings() for one in self.galleries if len(one)]
        rows = [part for part in parts if part is not None]
        return np.concatenate(rows) if rows and len(rows) == len(parts) else None

    def by_pictures(self) -> Gallery:
        """They as one, none of them fused."""
        several = [one.by_pictures() for one in self.galleries]
        return (
            self
            if all(one is own for one, own in zip(several, self.galleries, strict=True))
            else JoinedGallery(several)
        )

    def features_of(self, item: LabeledItem) -> Any:
        """The local features of an item, by the gallery that has it."""
        source = item.source if isinstance(item, JoinedItem) else 0
        return self.galleries[source].features(item.id)

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """(M, D) of all galleries; None where one has none."""
        rows = self.embeddings()
        return None if rows is None else rows[places]

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        return JoinedGallery([one.filtered(filters) for one in self.galleries])

    def _breadth(self, k: int) -> int:
        return max((one._breadth(k) for one in self.galleries), default=k)

    def _nearest(self, rows: NDArray[np.float32], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The nearest of each gallery, merged by similarity; of equal ones those of the gallery named first."""
        found = [one._nearest(rows, k) for one in self.galleries]
        if not found:
            return super()._nearest(rows, k)
        merged = []
        for at in range(len(rows)):
            places = np.concatenate([each[at][0] + start for each, start in zip(found, self._starts, strict=False)])
            values = np.concatenate([each[at][1] for each in found])
            order = np.argsort(-values, kind="stable")[:k]
            merged.append((places[order].astype(np.int64), values[order]))
        return merged


class JoinedItems(ItemRow[JoinedItem]):
    """The items of galleries in one row, each named when it is needed (models.galleries.items.CompactItems)."""

    def __init__(self, galleries: Sequence[Gallery], starts: Sequence[int]) -> None:
        self._galleries, self._starts = galleries, starts

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[JoinedItem]:
        return (named(item, one.name, at) for at, one in enumerate(self._galleries) for item in one.items)

    def at(self, place: int) -> JoinedItem:
        which = bisect_right(self._starts, place) - 1
        return named(self._galleries[which].items[place - self._starts[which]], self._galleries[which].name, which)

    def labels(self) -> Iterator[str]:
        """The label of each item, in their order."""
        return chain.from_iterable(labels_of(one.items) for one in self._galleries)

    def with_metadata(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """The places of the items that have metadata, and the metadata."""
        for one, start in zip(self._galleries, self._starts, strict=False):
            for at, metadata in with_metadata(one.items):
                yield start + at, metadata

    def place_of(self, item_id: str) -> int | None:
        """Where the first item with this id is."""
        for one, start in zip(self._galleries, self._starts, strict=False):
            if (at := place_of(one.items, item_id)) is not None:
                return start + at
        return None


def named(item: LabeledItem, gallery: str, source: int) -> JoinedItem:
    """An item with the name of its gallery."""
    box, key = getattr(item, "box", None), getattr(item, "image_key", None)
    return JoinedItem(item.id, item.label, gallery, source, key, box, getattr(item, "metadata", None))

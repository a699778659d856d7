"""A large gallery: its parts searched one by one, each by its built index or exactly, and merged.

Another version of it costs what changed: parts, their indexes and the numbers of their labels are shared between versions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import GalleryError
from models.galleries.gallery import MOST_HELD, Gallery
from models.galleries.items import ItemRow
from models.galleries.label_scores import EPSILON, LabelScores
from models.galleries.parts import best

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from models.galleries.calibration import Calibration
    from models.galleries.gallery import LabeledItem
    from models.galleries.parts import LabelTable, Part

MOST_SUMS = 20_000  # labels whose sums of rows are kept once they were needed
SUMMED_AT_ONCE = 4096  # rows


class PartedGallery(Gallery):
    """The parts as one gallery, of which `table` numbers the labels. Immutable; many threads may search it at a time.

    Raises GalleryError where their rows are of several dimensions.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        table: LabelTable,
        name: str = "",
        version: int = 0,
        calibration: Calibration | None = None,
        features: Callable[[str], Any] | None = None,
    ) -> None:
        self.parts = tuple(part for part in parts if len(part))
        dims = {part.labelled.rows.shape[1] for part in self.parts}
        if len(dims) > 1:
            raise GalleryError(f"Parts of {', '.join(map(str, sorted(dims)))} dimensions are not of one gallery.")
        dim = dims.pop() if dims else 0
        super().__init__((), np.empty((0, dim), np.float32), name, version, calibration, features)
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.items = PartedItems(self.parts, self._starts, table)
        self._table = table
        self._labels = self._scores = PartedLabelScores(self.parts, table)

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        parts = [part.meeting(filters) for part in self.parts]
        about = (self.name, self.version, self.calibration, self._features)
        if sum(map(len, parts)) > MOST_HELD:
            return PartedGallery(parts, self._table, *about)
        items = [part.item(at) for part in parts for at in range(len(part))]
        rows = [np.empty((0, self.dim), np.float32), *(part.rows(np.arange(len(part))) for part in parts)]
        return Gallery(items, np.concatenate(rows), *about)

    def embeddings(self) -> NDArray[np.float32]:
        """(N, D), a copy, row by row as the items are."""
        rows = [part.rows(np.arange(len(part))) for part in self.parts]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def features_by(self, features: Callable[[str], Any]) -> None:
        """Names what gives the local features of an item by its id; said once, before anybody searches."""
        self._features = features

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """(M, D): the embeddings of the items at these places."""
        found = np.empty((len(places), self.dim), np.float32)
        which = np.searchsorted(self._starts, places, "right") - 1
        for at, part in enumerate(self.parts):
            of_part = np.flatnonzero(which == at)
            if len(of_part):
                found[of_part] = part.rows(places[of_part] - self._starts[at])
        return found

    def sums_of(self, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As its base, without looking at the other labels."""
        sums, counts = np.zeros((len(labels), self.dim), np.float32), np.zeros(len(labels), np.int64)
        codes = np.array([self._table.code_of(label) for label in labels], np.int64)
        counts[codes >= 0] = self._scores.counts_of(codes[codes >= 0])
        if len(some := np.flatnonzero(counts)):
            sums[some] = self._scores.summed(codes[some])
        return sums, counts

    def _nearest(self, rows: NDArray[np.float32], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        if not self.parts or not len(rows):
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in rows]
        found = [part.nearest(rows, k) for part in self.parts]
        merged = []
        for at in range(len(rows)):
            places = np.concatenate([each[at][0] + start for each, start in zip(found, self._starts, strict=False)])
            merged.append(best(places, np.concatenate([each[at][1] for each in found]), k))
        return merged


class PartedItems(ItemRow["LabeledItem"]):
    """The items of parts in one row, none of them copied (models.galleries.items.CompactItems)."""

    def __init__(self, parts: Sequence[Part], starts: NDArray[np.int64], table: LabelTable) -> None:
        self._parts, self._starts, self._table = parts, starts.tolist(), table

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[LabeledItem]:
        for part in self._parts:
            yield from part.items()

    def at(self, place: int) -> LabeledItem:
        which = bisect_right(self._starts, place) - 1
        return self._parts[which].item(place - self._starts[which])

    def labels(self) -> Iterator[str]:
        """The label of each item, in their order."""
        return (self._table.names[code] for part in self._parts for code in part.codes.tolist())

    def with_metadata(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """The places of the items that have metadata, and the metadata."""
        for part, start in zip(self._parts, self._starts, strict=False):
            for at, metadata in part.with_metadata():
                yield start + at, metadata

    def place_of(self, item_id: str) -> int | None:
        """Where the item with this id is."""
        for part, start in zip(self._parts, self._starts, strict=False):
            if (at := part.place_of(item_id)) is not None:
                return int(start + at)
        return None


class PartedLabelScores(LabelScores):
    """As its base, for the labels of parts; a label's sum of rows is made when it is first needed, not at the start."""

    def __init__(self, parts: Sequence[Part], table: LabelTable) -> None:
        self._parts = parts
        self.codes: NDArray[np.int32] = np.concatenate([np.zeros(0, np.int32), *(part.codes for part in parts)])
        self.names = table.names
        self.counts = np.bincount(self.codes, minlength=len(table.names))
        self._sums: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self.counts))

    def counts_of(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(L,): how many rows each of the labels has; the table may know labels that came after these parts."""
        return np.where(codes < len(self.counts), self.counts[np.minimum(codes, len(self.counts) - 1)], 0)

    def _have_means(self, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones(len(codes), bool)

    def _towards_means(
        self, query: NDArray[np.float32], codes: NDArray[np.int64], own_code: int
    ) -> NDArray[np.float64]:
        sums = self.summed(codes)
        norms = np.maximum(np.linalg.norm(sums, axis=1), EPSILON)
        towards: NDArray[np.float64] = (sums @ query / norms).astype(np.float64)
        return self._less_own(query, codes, own_code, towards, norms)

    def summed(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """(L, D): for each of the labels the sum of its rows."""
        missing = np.array([code for code in codes.tolist() if code not in self._sums], np.int64)
        made: dict[int, NDArray[np.float32]] = {}
        for part in self._parts:
            for code, rows in zip(missing.tolist(), part.rows_of_labels(missing), strict=True):
                for start in range(0, len(rows), SUMMED_AT_ONCE):
                    some = part.labelled.rows[rows[start : start + SUMMED_AT_ONCE]].sum(axis=0)
                    made[code] = made[code] + some if code in made else np.asarray(some, np.float32)
        found = np.stack([made[code] if code in made else self._sums[code] for code in codes.tolist()])
        if len(self._sums) < MOST_SUMS:
            self._sums.update(made)
        return found

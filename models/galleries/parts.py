"""Parts of a large gallery: the rows of one stored file each, with the index that was built for it, or none.

A part never changes: what was removed of it in a version is masked, what was added later is another part.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from models.galleries.gallery import THREADS, faiss_module
from models.galleries.items import labels_of, place_of, with_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from models.galleries.built_index import BuiltIndex
    from models.galleries.gallery import LabeledItem

    Near = tuple[NDArray[np.int64], NDArray[np.float32]]  # places and similarities, best first
    Alive = NDArray[np.bool_]

SPARE = 32  # rows looked at beyond those wanted, for those of them that are passed over
WIDER = 8  # times as many, where that did not suffice
LEAST_WIDENED = 256  # of what is left: codes say less of rows that are far away
MOST_WIDENED = 4096  # beyond it every row is compared


class LabelTable:
    """Labels by number, the same for all versions of a gallery. Grows only; may be used by many threads."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}
        self._guard = threading.Lock()

    def codes_of(self, labels: Iterable[str], count: int) -> NDArray[np.int32]:
        """(count,): the number of each label."""
        return np.fromiter(map(self._code_of, labels), np.int32, count)

    def code_of(self, label: str) -> int:
        """The number of a label; -1 if none of the parts has it."""
        return self._codes.get(label, -1)

    def _code_of(self, label: str) -> int:
        known = self._codes.get(label)
        if known is None:
            with self._guard:
                known = self._codes.get(label)
                if known is None:
                    known = len(self.names)
                    self.names.append(label)
                    self._codes[label] = known  # last: whoever sees it finds the name
        return known


class Labelled:
    """The items of a part and their rows (N, D), both of which may be mapped from files, by place and by label.

    It holds 8 bytes more for each item.
    """

    def __init__(self, items: Sequence[LabeledItem], rows: NDArray[np.float32], table: LabelTable) -> None:
        # A plain array over what is mapped: numpy's memmap takes longer for each look at some rows.
        self.items, self.rows, self.table = items, np.asarray(rows), table
        self.codes = table.codes_of(labels_of(items), len(items))
        self.order = np.argsort(self.codes, kind="stable").astype(np.int32)
        self._codes, counts = np.unique(self.codes, return_counts=True)
        self._bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._by_metadata: dict[Filter, NDArray[np.int32]] | None = None
        self._indexing = threading.Lock()

    def ranges(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each label where in `order` its rows begin and end."""
        starts, ends = (np.searchsorted(self._codes, codes, side) for side in ("left", "right"))
        return self._bounds[starts], self._bounds[ends]

    def meeting(self, filters: Sequence[Filter]) -> NDArray[np.int64]:
        """The places of the items whose metadata meets all filters, ascending."""
        each = [self._indexed().get(one, np.zeros(0, np.int32)) for one in filters]
        return reduce(lambda one, other: np.intersect1d(one, other, assume_unique=True), each).astype(np.int64)

    def _indexed(self) -> dict[Filter, NDArray[np.int32]]:
        with self._indexing:
            if self._by_metadata is None:
                found: dict[Filter, array[int]] = {}
                for place, metadata in with_metadata(self.items):
                    for pair in metadata.items():
                        found.setdefault(pair, array("i")).append(place)
                self._by_metadata = {pair: np.frombuffer(places, np.int32) for pair, places in found.items()}
            return self._by_metadata


class Part:
    """A part as a version has it: without the rows that are not `alive` (N,), None if all are."""

    def __init__(self, labelled: Labelled, index: BuiltIndex | None = None, alive: Alive | None = None) -> None:
        self.labelled, self.index, self.alive = labelled, index, alive
        self.live: NDArray[np.int32] | None = None if alive is None else np.flatnonzero(alive).astype(np.int32)
        # From a row's place in its file to its place among the living.
        self._rank = None if alive is None else np.cumsum(alive, dtype=np.int32) - 1
        self.count = len(labelled.items) if self.live is None else len(self.live)

    def __len__(self) -> int:
        return self.count

    @property
    def codes(self) -> NDArray[np.int32]:
        """The label of each living row."""
        return self.labelled.codes if self.live is None else self.labelled.codes[self.live]

    def meeting(self, filters: Sequence[Filter]) -> Part:
        """The part of the living items alone that meet all filters, to be searched exactly."""
        alive = np.zeros(len(self.labelled.items), bool)
        alive[self.labelled.meeting(filters)] = True
        return Part(self.labelled, None, alive if self.alive is None else alive & self.alive)

    def item(self, place: int) -> LabeledItem:
        """The item at a place among the living."""
        return self.labelled.items[place if self.live is None else int(self.live[place])]

    def items(self) -> Iterable[LabeledItem]:
        """The living items."""
        items, alive = self.labelled.items, self.alive
        return items if alive is None else compress(items, alive.tolist())

    def place_of(self, item_id: str) -> int | None:
        """Where among the living the item with this id is."""
        at = place_of(self.labelled.items, item_id)
        if at is None or self.alive is None or self._rank is None:
            return at
        return int(self._rank[at]) if self.alive[at] else None

    def with_metadata(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """The places among the living of those items that have metadata, and the metadata."""
        for at, metadata in with_metadata(self.labelled.items):
            if self.alive is None or self._rank is None:
                yield at, metadata
            elif self.alive[at]:
                yield int(self._rank[at]), metadata

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """(M, D): the rows at places among the living."""
        return np.asarray(self.labelled.rows[places if self.live is None else self.live[places]], np.float32)

    def rows_of_labels(self, codes: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """For each label its living rows, as places in the file."""
        starts, ends = self.labelled.ranges(codes)
        found = [self.labelled.order[start:end] for start, end in zip(starts, ends, strict=True)]
        return found if self.alive is None else [rows[self.alive[rows]] for rows in found]

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[Near]:
        """For each query its `k` nearest living rows, as places among the living."""
        if not self.count:
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in queries]
        near = exact if self.index is None else self._by_index
        found = near(queries, self.labelled.rows, k, self.alive)
        if self._rank is None:
            return found
        return [(self._rank[places].astype(np.int64), values) for places, values in found]

    def _by_index(
        self, queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, alive: Alive | None
    ) -> list[Near]:
        index = self.index
        if index is None:
            return exact(queries, rows, k, alive)
        wanted = min(k, self.count)
        requested = max(index.depth, 2 * k)
        depth = requested * len(rows) // self.count + (SPARE if alive is not None else 0)
        least = requested - requested // 8
        left = np.arange(len(queries))
        found: list[Near | None] = [None] * len(queries)
        while len(left) and depth < max(MOST_WIDENED, requested + 1):
            places = index.candidates(queries[left], depth)
            rest = []
            for at, near in zip(left.tolist(), places, strict=True):
                kept = near[near >= 0]
                kept = kept if alive is None else kept[alive[kept]]
                # What was removed may have stood nearer than all that is left: a whole label, say.
                if len(kept) >= min(max(wanted, least), self.count) or (alive is None and len(kept) >= wanted):
                    found[at] = best(kept, rows.take(kept, axis=0) @ queries[at], wanted)
                else:
                    rest.append(at)
            left = np.array(rest, np.int64)
            depth, least = depth * WIDER, max(requested // 2, LEAST_WIDENED)
        for at, near in zip(left.tolist(), exact(queries[left], rows, k, alive), strict=True):
            found[at] = near
        return [one for one in found if one is not None]


def exact(queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, alive: Alive | None = None) -> list[Near]:
    """For each of the queries (Q, D) its `k` nearest of the rows (N, D) that are alive, by inner product."""
    if not len(queries):
        return []
    faiss = faiss_module()
    faiss.omp_set_num_threads(THREADS)
    living = len(rows) if alive is None else int(np.count_nonzero(alive))
    wanted = min(k, living)
    if not wanted:
        return [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in queries]
    # As many rows as, by their fraction, hold enough that are alive; more where these do not suffice, in the end all.
    depth = wanted if alive is None else wanted * len(rows) * 3 // (2 * living) + SPARE
    while alive is None or depth <= MOST_WIDENED:
        values, places = faiss.knn(queries, rows, min(depth, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
        if alive is None:
            return list(zip(places, values, strict=True))
        kept = [alive[near] for near in places]
        if all(np.count_nonzero(one) >= wanted for one in kept):
            return [
                (near[one][:wanted], like[one][:wanted]) for near, like, one in zip(places, values, kept, strict=True)
            ]
        depth *= WIDER
    return among(queries, rows, np.flatnonzero(alive), k)


def among(queries: NDArray[np.float32], rows: NDArray[np.float32], chosen: NDArray[np.int64], k: int) -> list[Near]:
    """For each query its `k` nearest of the rows at `chosen` (M,), compared with every one of them."""
    if len(chosen) * 4 < len(rows):
        likes = np.asarray(rows[chosen], np.float32) @ queries.T
    else:
        likes = (rows @ queries.T)[chosen]
    return [best(chosen, np.ascontiguousarray(likes[:, at], np.float32), k) for at in range(len(queries))]


def best(places: NDArray[np.int64], values: NDArray[np.float32], k: int) -> Near:
    """The `k` of these with the greatest values, in their order."""
    if len(values) > k:
        top = np.argpartition(-values, k - 1)[:k]
        places, values = places[top], values[top]
    order = np.argsort(-values, kind="stable")
    return places[order].astype(np.int64), values[order].astype(np.float32)

"""The segments of a version that a Milvus server holds, as a source of a gallery (models.galleries.sourced_gallery)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from infra.errors.galleries import MilvusUnavailable
from infra.galleries.milvus import MOST_NAMED
from infra.galleries.milvus_records import Where, facet, hashed
from models.galleries.gallery import Match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from infra.galleries.files import Item, Segment
    from infra.galleries.milvus import MilvusServer
    from infra.galleries.milvus_records import Hit
    from models.galleries.gallery import LabeledItem

SPARE = 32  # rows requested beyond those wanted, where some of the rows were removed
WIDER = 8  # times as many, where that did not suffice; after that the removed ones are named to the server
MOST_SEEN = 4096  # items
MOST_SUMS = 20_000  # labels whose sums of rows are kept


@dataclass(frozen=True)
class Filled:
    """A segment as a version has it, and the partition that holds its rows."""

    segment: Segment
    partition: str

    @property
    def number(self) -> int:
        """What its rows' keys begin with."""
        return int(self.partition[1:9], 16)


class MilvusRows:
    """The living rows of filled segments, of `dim` dimensions. Immutable but for what it remembers; for many threads.

    `find` gives items by their ids, for those whose metadata is too long for the server. Searches raise MilvusUnavailable.
    """

    def __init__(
        self,
        server: MilvusServer,
        collection: str,
        filled: Sequence[Filled],
        dim: int,
        find: Callable[[Collection[str]], dict[str, Item]],
        filters: Sequence[Filter] = (),
        failed: threading.Event | None = None,
    ) -> None:
        self._server, self._collection = server, collection
        self.filled = tuple(filled)
        self._dim, self._find, self._filters = dim, find, tuple(filters)
        self._partitions = [one.partition for one in self.filled]
        self._removed = {one.number: frozenset(one.segment.removed) for one in self.filled}
        self._removed_hashes = {number: frozenset(map(hashed, ids)) for number, ids in self._removed.items()}
        self._where = Where(facets=tuple(facet(name, value) for name, value in self._filters))
        self._sums: dict[str, tuple[NDArray[np.float32], int]] = {}
        self._seen: OrderedDict[str, Item] = OrderedDict()  # the last items that were found
        self._guard = threading.Lock()
        self._failed = failed or threading.Event()  # of all views: what one finds missing the others lack too
        self._count = self._counted() if filters else sum(one.segment.live_count for one in self.filled)

    @property
    def partitions(self) -> Sequence[str]:
        """Where its rows are."""
        return self._partitions

    @property
    def outdated(self) -> bool:
        """Whether the server failed since: then its rows are counted again before it is searched again."""
        return self._failed.is_set()

    def __len__(self) -> int:
        return self._count

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """For each of the queries (Q, D) its `k` nearest living rows, best first."""
        try:
            found = self._nearest(queries, k)
        except MilvusUnavailable:
            self._failed.set()
            raise
        if self._count and len(queries) and not any(found):
            self._failed.set()
            raise MilvusUnavailable("The Milvus server finds none of the gallery's rows.")
        whole = self._whole([hit for near in found for hit in near])
        with self._guard:
            self._seen.update((hit.item.id, whole.get(hit.item.id, hit.item)) for near in found for hit in near)
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
        return [[Match(whole.get(hit.item.id, hit.item), hit.similarity) for hit in near] for near in found]

    def sums_of(self, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(L, D) and (L,): for each label the sum of its living rows, and how many they are."""
        with self._guard:
            known = {label: self._sums[label] for label in labels if label in self._sums}
        missing = [label for label in labels if label not in known]
        for start in range(0, len(missing), MOST_NAMED):
            known |= self._summed(missing[start : start + MOST_NAMED])
        with self._guard:
            if len(self._sums) < MOST_SUMS:
                self._sums.update((label, known[label]) for label in missing)
        sums = np.array([known[label][0] for label in labels], np.float32).reshape(len(labels), self._dim)
        return sums, np.array([known[label][1] for label in labels], np.int64)

    def find_all(self, ids: Collection[str]) -> dict[str, LabeledItem]:
        """The living items with these ids. Those of the last answers are known: a second look names them one by one."""
        with self._guard:
            known = {one: self._seen[one] for one in ids if one in self._seen}
        if not (missing := [one for one in ids if one not in known]):
            return dict(known)
        hits = [hit for hit in self._server.items(self._collection, self._partitions, missing) if self._lives(hit)]
        return {**known, **{hit.item.id: hit.item for hit in hits}, **self._whole(hits)}

    def filtered(self, filters: Sequence[Filter]) -> MilvusRows:
        """Those rows alone whose items' metadata meets all filters."""
        several = (*self._filters, *filters)
        return MilvusRows(self._server, self._collection, self.filled, self._dim, self._find, several, self._failed)

    def _lives(self, hit: Hit) -> bool:
        return hit.item.id not in self._removed[hit.key >> 32]

    def _nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        depth = k + (SPARE if any(self._removed.values()) else 0)
        found: list[list[Hit]] = [[] for _ in queries]
        left = list(range(len(queries)))
        for requested in (depth, WIDER * depth):
            near = self._server.search(self._collection, self._partitions, queries[left], requested, self._where)
            rest = []
            for at, hits in zip(left, near, strict=True):
                found[at] = [hit for hit in hits if self._lives(hit)][:k]
                if len(found[at]) < k and len(hits) >= requested:  # those removed took the places
                    rest.append(at)
            left = rest
            if not left:
                return found
        for at, hits in zip(left, self._without_removed(queries[left], k), strict=True):
            found[at] = hits
        return found

    def _without_removed(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """The nearest rows of each partition among those that were not removed, merged."""
        found: list[list[Hit]] = [[] for _ in queries]
        for one in self.filled:
            where = replace(self._where, without=tuple(sorted(self._removed_hashes[one.number])))
            near = self._server.search(self._collection, [one.partition], queries, k, where)
            found = [[*known, *hits] for known, hits in zip(found, near, strict=True)]
        return [sorted(hits, key=lambda hit: -hit.similarity)[:k] for hits in found]

    def _summed(self, labels: Sequence[str]) -> dict[str, tuple[NDArray[np.float32], int]]:
        sums = {hashed(label): np.zeros(self._dim, np.float32) for label in labels}
        counts = dict.fromkeys(sums, 0)
        where = replace(self._where, labels=tuple(sums))
        for row in self._server.rows(self._collection, self._partitions, where, ["label", "item", "embedding"]):
            if row["item"] not in self._removed_hashes[row["key"] >> 32]:
                sums[row["label"]] += np.asarray(row["embedding"], np.float32)
                counts[row["label"]] += 1
        return {label: (sums[hashed(label)], counts[hashed(label)]) for label in labels}

    def _counted(self) -> int:
        """How many living rows meet the filters."""
        count = self._server.count(self._collection, self._partitions, self._where)
        for one in self.filled:
            for some in _chunks(sorted(self._removed_hashes[one.number])):
                count -= self._server.count(self._collection, [one.partition], replace(self._where, items=some))
        return count

    def _whole(self, hits: Sequence[Hit]) -> dict[str, Item]:
        """Those of the hits' items that came without their metadata, with it."""
        cut = {hit.item.id for hit in hits if hit.cut}
        return self._find(cut) if cut else {}


def _chunks(several: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(several), MOST_NAMED):
        yield tuple(several[start : start + MOST_NAMED])

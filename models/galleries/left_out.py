"""A gallery's own items as queries, each in the gallery without itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.galleries.fusing import normalised, sums_of
from models.galleries.gallery import faiss_module
from models.galleries.label_scores import NEIGHBOURS, LabelScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from models.galleries.label_scores import LabelScore

BLOCK = 256  # queries at a time


class Pictures:
    """Rows (N, D) that are searched one by one."""

    def __init__(self, labels: Sequence[str], rows: NDArray[np.float32]) -> None:
        self.scorer = LabelScores(labels, rows)
        self._index = _index_of(rows)

    def near(self, queries: NDArray[np.float32]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each of the queries (Q, D) what is nearest, for `score`: their numbers and similarities."""
        if not len(queries):
            return []
        faiss_module().omp_set_num_threads(1)
        similarities, places = self._index.search(queries, min(NEIGHBOURS, self._index.ntotal))
        return list(zip(places, similarities, strict=True))

    def score(
        self,
        query: NDArray[np.float32],
        places: NDArray[np.int64],
        similarities: NDArray[np.float32],
        own: int | None = None,
        *,
        without_label: bool = False,
    ) -> list[LabelScore]:
        """The labels of the nearest, as LabelScores.score has them."""
        return self.scorer.score(query, places, similarities, own, without_label=without_label)


class Things(Pictures):
    """Rows (N, D) that are searched by the fused vectors (T, D) of the things that they show."""

    def __init__(self, labels: Sequence[str], rows: NDArray[np.float32], thing_of: NDArray[np.int64]) -> None:
        self._rows, self._thing_of = rows, thing_of
        self._sums = sums_of(thing_of, rows.shape[1], rows.__getitem__)
        self._counts = np.bincount(thing_of)
        self._first = np.unique(thing_of, return_index=True)[1]  # a row of each
        self.scorer = LabelScores(labels, None)
        self._index = _index_of(normalised(self._sums))

    def score(
        self,
        query: NDArray[np.float32],
        things: NDArray[np.int64],
        similarities: NDArray[np.float32],
        own: int | None = None,
        *,
        without_label: bool = False,
    ) -> list[LabelScore]:
        """The labels of the nearest things. With `own` the query is that row, and its thing is fused without it."""
        if without_label or own is None:
            return self.scorer.score(query, self._first[things], similarities, own, without_label=without_label)
        thing = self._thing_of[own]
        if self._counts[thing] == 1:
            similarities, things = similarities[things != thing], things[things != thing]
        else:
            rest = normalised((self._sums[thing] - self._rows[own])[None])[0]
            similarities = np.where(things == thing, rest @ query, similarities)
        return self.scorer.score(query, self._first[things], similarities)


def answers(
    labels: Sequence[str], embeddings: NDArray[np.float32], things: Sequence[int]
) -> Iterator[dict[int, str | None]]:
    """By the place of each item with another one of its label: the best label without it, block by block.

    `embeddings` (N, D) are unit vectors; `things` number the things that the items show, of which each is one vector.
    """
    rows = np.ascontiguousarray(embeddings, np.float32)
    searched = Things(labels, rows, np.array(things, np.int64))
    several = np.flatnonzero(searched.scorer.counts[searched.scorer.codes] > 1)
    for start in range(0, len(several), BLOCK):
        places = several[start : start + BLOCK]
        near = zip(places.tolist(), searched.near(rows[places]), strict=True)
        found = {place: searched.score(rows[place], *one, place) for place, one in near}
        yield {place: best[0].label if best else None for place, best in found.items()}


def _index_of(rows: NDArray[np.float32]) -> Any:
    index = faiss_module().IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index

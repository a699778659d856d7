"""The queries that a gallery makes of itself, to learn how sure its answers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.galleries.fusing import normalised, sums_of
from models.galleries.gallery import faiss_module
from models.galleries.label_scores import NEIGHBOURS, LabelScores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.galleries.label_scores import LabelScore

REAL, VIEW, UNRELATED, LEFT_OUT = 0, 1, 2, 3  # photo, augmented view, unrelated picture, its own label taken out
UNKNOWN_KINDS = (UNRELATED, LEFT_OUT)
UNKNOWN_FRACTION = 0.3  # of the queries that a gallery is taken to get, how many have no right answer
MOST_QUERIES, MOST_UNRELATED = 400, 200  # of a large gallery, so that an enrolment waits less than a second
HALF = 0.5  # rows shorter than that are no unit vectors but missing ones


@dataclass(frozen=True)
class Observations:
    """Queries and what their best label was, all (N,): `rivals` are the next labels' scores, NaN where there is none."""

    scores: NDArray[np.float64]
    rivals: NDArray[np.float64]
    pictures: NDArray[np.int64]
    right: NDArray[np.float64]  # 0 or 1
    kinds: NDArray[np.int64]

    def of(self, *kinds: int) -> Observations:
        """The queries of some kinds alone."""
        kept = np.isin(self.kinds, kinds)
        return Observations(
            self.scores[kept], self.rivals[kept], self.pictures[kept], self.right[kept], self.kinds[kept]
        )


@dataclass
class Collector:
    """Takes queries one by one."""

    rows: list[tuple[float, float, int, float, int]]

    def take(self, found: Sequence[LabelScore], label: str | None, kind: int) -> None:
        """A query with the labels that it found, best first; one that found none counts for nothing."""
        if found:
            rival = found[1].score if len(found) > 1 else float("nan")
            self.rows.append((found[0].score, rival, found[0].pictures, float(found[0].label == label), kind))

    def done(self) -> Observations:
        """What was taken."""
        table = np.array(self.rows, np.float64).reshape(-1, 5)
        whole = table[:, (2, 4)].astype(np.int64)
        return Observations(table[:, 0], table[:, 1], whole[:, 0], table[:, 3], whole[:, 1])


def own_queries(
    labels: Sequence[str],
    embeddings: NDArray[np.float32],
    views: NDArray[np.float32] | None,
    unknowns: NDArray[np.float32],
    things: Sequence[int] | None = None,
) -> Observations:
    """A gallery's own queries, at most so many that it takes less than a second.

    An item of a label with several pictures is searched in the gallery without it (leave-one-out), one that is its
    label's only picture by its augmented view; both again in the gallery without their label, where no answer is right.
    `unknowns` are unrelated to all. `things` are the numbers of the things that the items show, where these are fused.
    """
    rows = np.ascontiguousarray(embeddings, np.float32)
    searched = _Pictures(labels, rows) if things is None else _Things(labels, rows, np.array(things, np.int64))
    index = faiss_module().IndexFlatIP(rows.shape[1])
    index.add(searched.vectors)
    several = searched.scorer.counts[searched.scorer.codes] > 1
    usable = several.copy()
    if views is not None:
        usable |= np.linalg.norm(views, axis=1) > HALF
    chosen = _some(np.flatnonzero(usable), MOST_QUERIES)
    queries = rows[chosen].copy()
    if views is not None:
        queries[~several[chosen]] = views[chosen][~several[chosen]]
    seen = Collector([])
    for query, near, item in zip(queries, _neighbours(index, queries), chosen.tolist(), strict=True):
        if several[item]:
            seen.take(searched.score(query, *near, item), labels[item], REAL)
        else:
            seen.take(searched.score(query, *near), labels[item], VIEW)
        seen.take(searched.score(query, *near, item, without_label=True), None, LEFT_OUT)
    others = np.ascontiguousarray(unknowns[_some(np.arange(len(unknowns)), MOST_UNRELATED)], np.float32)
    for query, near in zip(others, _neighbours(index, others), strict=True):
        seen.take(searched.score(query, *near), None, UNRELATED)
    return seen.done()


class _Pictures:
    """Rows (N, D) that are searched one by one."""

    def __init__(self, labels: Sequence[str], rows: NDArray[np.float32]) -> None:
        self.vectors = rows
        self.scorer = LabelScores(labels, rows)

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


class _Things:
    """Rows (N, D) that are searched by the fused `vectors` (T, D) of the things that they show."""

    def __init__(self, labels: Sequence[str], rows: NDArray[np.float32], thing_of: NDArray[np.int64]) -> None:
        self._rows, self._thing_of = rows, thing_of
        self._sums = sums_of(thing_of, rows.shape[1], rows.__getitem__)
        self._counts = np.bincount(thing_of)
        self._first = np.unique(thing_of, return_index=True)[1]  # a row of each
        self.vectors = normalised(self._sums)
        self.scorer = LabelScores(labels, None)

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


def _neighbours(index: object, queries: NDArray[np.float32]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    if not len(queries):
        return []
    faiss_module().omp_set_num_threads(1)
    similarities, places = index.search(queries, min(NEIGHBOURS, index.ntotal))  # type: ignore[attr-defined]
    return list(zip(places, similarities, strict=True))


def _some(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many, sampled evenly, always the same."""
    if len(places) <= most:
        return places
    return np.sort(np.random.default_rng(0).permutation(places)[:most])

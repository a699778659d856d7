"""The queries that a gallery makes of itself, to learn how sure its answers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.galleries.left_out import Pictures, Things

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
    searched = Pictures(labels, rows) if things is None else Things(labels, rows, np.array(things, np.int64))
    several = searched.scorer.counts[searched.scorer.codes] > 1
    usable = several.copy()
    if views is not None:
        usable |= np.linalg.norm(views, axis=1) > HALF
    chosen = _some(np.flatnonzero(usable), MOST_QUERIES)
    queries = rows[chosen].copy()
    if views is not None:
        queries[~several[chosen]] = views[chosen][~several[chosen]]
    seen = Collector([])
    for query, near, item in zip(queries, searched.near(queries), chosen.tolist(), strict=True):
        if several[item]:
            seen.take(searched.score(query, *near, item), labels[item], REAL)
        else:
            seen.take(searched.score(query, *near), labels[item], VIEW)
        seen.take(searched.score(query, *near, item, without_label=True), None, LEFT_OUT)
    others = np.ascontiguousarray(unknowns[_some(np.arange(len(unknowns)), MOST_UNRELATED)], np.float32)
    for query, near in zip(others, searched.near(others), strict=True):
        seen.take(searched.score(query, *near), None, UNRELATED)
    return seen.done()


def _some(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many, sampled evenly, always the same."""
    if len(places) <= most:
        return places
    return np.sort(np.random.default_rng(0).permutation(places)[:most])

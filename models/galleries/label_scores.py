"""How alike a query is to a label: its pictures count together, not only the nearest.

A label's score is its nearest picture's similarity where it has one picture, and moves towards the similarity of the
mean of its pictures the more it has. Measured on few views a product and on some thirty photos a class (docs/galleries.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

NEIGHBOURS = 100  # items from which labels are scored; one that none of these bears is no candidate
HALFWAY = 2.0  # with so many pictures besides the first, mean and nearest count alike
EPSILON = 1e-12


@dataclass(frozen=True)
class LabelScore:
    """One label as an answer. `place` is the row of its nearest item, `nearest` that one's similarity."""

    label: str
    score: float
    place: int
    nearest: float
    pictures: int


class LabelScores:
    """The labels of a gallery's rows (N, D), which are unit vectors, and the mean vectors of those with several pictures.

    Immutable; many threads may search at a time. Means are held for labels of two pictures or more: at most half of the
    embeddings again.
    """

    def __init__(self, labels: Sequence[str], embeddings: NDArray[np.float32] | None) -> None:
        """Without `embeddings`, labels are scored by their nearest items alone."""
        self.names: Sequence[str] = tuple(sorted(set(labels)))
        ids = {name: number for number, name in enumerate(self.names)}
        self.codes: NDArray[np.integer[Any]] = np.array([ids[label] for label in labels], np.int64)
        self.counts: NDArray[np.int64] = np.bincount(self.codes, minlength=len(self.names))
        several = np.flatnonzero(self.counts > 1) if embeddings is not None else np.zeros(0, np.int64)
        self._mean_of = np.full(len(self.names), -1, np.int64)
        self._mean_of[several] = np.arange(len(several))
        sums = np.zeros((len(several), 0 if embeddings is None else embeddings.shape[1]), np.float32)
        if embeddings is not None and len(several):
            order = np.argsort(self.codes, kind="stable")
            starts = np.cumsum(self.counts) - self.counts
            for at, code in enumerate(several.tolist()):
                rows = order[starts[code] : starts[code] + self.counts[code]]
                sums[at] = embeddings[rows].sum(axis=0)
        self._norms = np.maximum(np.linalg.norm(sums, axis=1), EPSILON)
        self._means = sums / self._norms[:, None]

    def __len__(self) -> int:
        return len(self.names)

    def score(
        self,
        query: NDArray[np.float32],
        places: NDArray[np.int64],
        similarities: NDArray[np.float32],
        own: int | None = None,
        *,
        without_label: bool = False,
    ) -> list[LabelScore]:
        """The labels of the items at `places` (K,), which are `similarities` (K,) near to `query` (D,), best first.

        With `own`, the query is that row itself and counts as not in the gallery; `without_label` its whole label.
        `pictures` stays what the gallery has: one less would give the right label away.
        """
        own_code = -1 if own is None else int(self.codes[own])
        kept = self.codes[places] != own_code if without_label else places != (-1 if own is None else own)
        places, similarities = places[kept], similarities[kept]
        order = np.argsort(-similarities, kind="stable")
        places, similarities = places[order], similarities[order]
        found, first = np.unique(self.codes[places], return_index=True)
        counts = self.counts[found] - (found == own_code)
        nearest = similarities[first].astype(np.float64)
        scores = nearest.copy()
        several = np.flatnonzero((counts > 1) & self._have_means(found))
        if several.size:
            means = self._towards_means(query, found[several], own_code)
            weight = mean_weight(counts[several])
            scores[several] = (1 - weight) * nearest[several] + weight * means
        best = np.argsort(-scores, kind="stable")
        return [
            LabelScore(
                self.names[found[at]],
                float(scores[at]),
                int(places[first[at]]),
                float(nearest[at]),
                int(self.counts[found[at]]),
            )
            for at in best
        ]

    def sums_of(
        self, labels: Sequence[str], dim: int, rows_at: Callable[[NDArray[np.int64]], NDArray[np.float32] | None]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(L, D) and (L,): for each label the sum of the rows that `rows_at` gives of its places, and how many they are."""
        codes = {name: code for code, name in enumerate(self.names)}
        sums, counts = np.zeros((len(labels), dim), np.float32), np.zeros(len(labels), np.int64)
        for at, label in enumerate(labels):
            if (code := codes.get(label)) is None:
                continue
            places = np.flatnonzero(self.codes == code)
            rows = rows_at(places)
            if rows is not None:
                sums[at], counts[at] = rows.sum(axis=0), len(places)
        return sums, counts

    def _have_means(self, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the labels have a mean vector."""
        return np.asarray(self._mean_of[codes] >= 0)

    def _towards_means(
        self, query: NDArray[np.float32], codes: NDArray[np.int64], own_code: int
    ) -> NDArray[np.float64]:
        """The similarities of the query to the mean vectors of labels; of its own label to the mean of the others."""
        which = self._mean_of[codes]
        towards: NDArray[np.float64] = (self._means[which] @ query).astype(np.float64)
        return self._less_own(query, codes, own_code, towards, self._norms[which])

    @staticmethod
    def _less_own(
        query: NDArray[np.float32],
        codes: NDArray[np.int64],
        own_code: int,
        towards: NDArray[np.float64],
        norms: NDArray[np.float32],
    ) -> NDArray[np.float64]:
        """`towards` the means of labels with sums of so much length, to the query's own label without the query."""
        for at in np.flatnonzero(codes == own_code):
            norm, length = float(norms[at]), float(query @ query)
            rest = max(norm**2 - 2 * norm * towards[at] + length, EPSILON)
            towards[at] = (norm * towards[at] - length) / rest**0.5
        return np.asarray(towards, np.float64)


def mean_weight(pictures: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much a label's mean vector counts, by how many pictures it has: 0 with one, towards 1 with many."""
    more = (pictures - 1).astype(np.float64)
    return np.asarray(more / (more + HALFWAY), np.float64)

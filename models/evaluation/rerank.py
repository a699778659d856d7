"""k-reciprocal re-ranking: those are near who share their neighbours (Zhong et al., arXiv:1701.08398).

Distances are squared Euclidean ones between unit rows, divided by each row's largest. A row is described by weights over
its k-reciprocal neighbours, averaged over its nearest `k2`; the Jaccard distance between such descriptions is blended
with the first distance. Descriptions are sparse and distances are made in blocks, so memory grows with N, not N squared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.ranking import Indices, Rows, Similarities, blocks, first

K1, K2, BLEND = (
    20,
    6,
    0.3,
)  # PaddleClas' and the paper's for large galleries; BLEND is the fraction of the first distance


@dataclass(frozen=True, eq=False)
class _Sparse:
    """The nonzero entries of an (N, N) matrix, row by row."""

    starts: Indices  # (N + 1,)
    columns: Indices
    values: NDArray[np.float64]

    def row(self, number: int) -> tuple[Indices, NDArray[np.float64]]:
        some = slice(self.starts[number], self.starts[number + 1])
        return self.columns[some], self.values[some]

    def transposed(self) -> "_Sparse":
        count = len(self.starts) - 1
        rows = np.repeat(np.arange(count), np.diff(self.starts))
        order = np.argsort(self.columns, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.columns, minlength=count))])
        return _Sparse(starts, rows[order], self.values[order])


def reranked(queries: Rows, gallery: Rows | None, k1: int = K1, k2: int = K2, blend: float = BLEND) -> Similarities:
    """Similarities of unit rows (Q, D) to (G, D), re-ranked: minus the blended distance, 0 at best.

    Without a gallery the queries query each other, and each is in the neighbourhoods once only.
    """
    rows = queries if gallery is None else np.concatenate([queries, gallery])
    searched = slice(0 if gallery is None else len(queries), len(rows))
    near, farthest = _neighbours(rows, max(k1 + 1, k2))
    described = _averaged(_reciprocal(rows, near, farthest, k1), near, k2)
    by_column = described.transposed()

    def similarities(block: slice) -> Rows:
        places = range(*block.indices(len(queries)))
        plain = _distances(rows, rows[searched], block) / farthest[block, None]
        jaccard = np.stack([_jaccard(number, described, by_column)[searched] for number in places])
        return np.asarray(-((1 - blend) * jaccard + blend * plain), np.float32)

    return similarities


def _distances(rows: Rows, others: Rows, block: slice) -> Rows:
    # OpenBLAS raises the flag "invalid" now and then for finite rows, by what lies next to them in its registers; no answer
    # is (numpy issues 13173 and 24067).
    with np.errstate(invalid="ignore"):
        return np.asarray(np.maximum(2 - 2 * (rows[block] @ others.T), 0), np.float32)


def _neighbours(rows: Rows, k: int) -> tuple[Indices, Rows]:
    """The k nearest of each row, itself first even where others equal it: (N, k); and its largest distance: (N,)."""
    k = min(k, len(rows))
    near, farthest = np.empty((len(rows), k), np.int64), np.empty(len(rows), np.float32)
    for block, found in blocks(lambda some: _distances(rows, rows, some), len(rows), len(rows)):
        farthest[block] = found.max(axis=1)
        found[np.arange(len(found)), np.arange(block.start, block.stop)] = -1
        near[block] = first(found, k)
    return near, np.maximum(farthest, np.finfo(np.float32).tiny)


def _reciprocal(rows: Rows, near: Indices, farthest: Rows, k1: int) -> _Sparse:
    """Each row's weights over its k1-reciprocal neighbours and, where they agree enough, over those of them."""
    close, half = near[:, : k1 + 1], near[:, : int(np.around(k1 / 2)) + 1]
    mutual = [_mutual(close, number) for number in range(len(rows))]
    halves = [_mutual(half, number) for number in range(len(rows))]
    columns, values = [], []
    for number, own in enumerate(mutual):
        agreeing = [halves[one] for one in own if np.isin(halves[one], own).sum() > 2 / 3 * len(halves[one])]
        chosen = np.unique(np.concatenate([own, *agreeing]))
        weights = np.exp(
            -_distances(rows, rows[chosen], slice(number, number + 1))[0].astype(np.float64) / farthest[number]
        )
        columns.append(chosen)
        values.append(weights / weights.sum())
    return _joined(columns, values)


def _mutual(near: Indices, number: int) -> Indices:
    own = near[number]
    return np.asarray(own[(near[own] == number).any(axis=1)])


def _averaged(weights: _Sparse, near: Indices, k2: int) -> _Sparse:
    """The mean of each row's `k2` nearest rows' weights, its own among them."""
    if k2 <= 1:
        return weights
    columns, values = [], []
    for some in near[:, :k2]:
        found = [weights.row(number) for number in some]
        both = np.concatenate([places for places, _ in found])
        chosen, where = np.unique(both, return_inverse=True)
        columns.append(chosen)
        values.append(np.bincount(where, np.concatenate([own for _, own in found])) / len(some))
    return _joined(columns, values)


def _jaccard(number: int, described: _Sparse, by_column: _Sparse) -> NDArray[np.float64]:
    """The distances of one row to all (N,). Weights sum to 1, so the union is 2 minus what is common."""
    common = np.zeros(len(described.starts) - 1)
    for column, weight in zip(*described.row(number), strict=True):
        rows, values = by_column.row(column)
        common[rows] += np.minimum(values, weight)
    return np.asarray(1 - common / (2 - common), np.float64)


def _joined(columns: list[Indices], values: list[NDArray[np.float64]]) -> _Sparse:
    starts = np.concatenate([[0], np.cumsum([len(own) for own in columns])])
    return _Sparse(starts, np.concatenate(columns), np.concatenate(values))

"""Ranks what a gallery holds for each query, block by block: the similarities of 60,000 x 60,000 never exist at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]  # (N, D)
Indices = NDArray[np.int64]  # (N,)
Similarities = Callable[[slice], Rows]  # some of the queries -> (B, G), larger is more alike

BLOCK_BYTES = 64 << 20  # of similarities held at once; sorting needs the same again
NO_MARK = -1


@dataclass(frozen=True, eq=False)
class RowLabels:
    """What the rows of one side show. Two rows with the same mark are one picture, or one series of them: never matched."""

    labels: Indices
    marks: Indices  # NO_MARK: may be matched with every row

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The ranks of a query's right gallery rows. All that is masked for the query is left out."""

    ranks: Indices  # (R,) of those with its label, from 0, ascending; none: nothing could be right
    right: float  # similarity of the nearest of them, -inf without any
    wrong: float  # similarity of the nearest row with another label, -inf without any


def inner_products(queries: Rows, gallery: Rows) -> Similarities:
    """Cosines, for unit rows."""
    return lambda some: np.asarray(queries[some] @ gallery.T, np.float32)


def rank(similarities: Similarities, queries: RowLabels, gallery: RowLabels) -> Iterator[Ranking]:
    """Each query's ranking, in order.

    Among equally similar rows the wrong ones come first, so that a network that separates nothing scores nothing.
    """
    for block, found in blocks(similarities, len(queries), len(gallery)):
        same = queries.labels[block, None] == gallery.labels
        found[masked(queries.marks[block], gallery.marks)] = -np.inf
        others = np.where(same, -np.inf, found)
        for row, own, wrong in zip(found, same, others, strict=True):
            right = row[own]
            right = np.sort(right[right > -np.inf])[::-1]
            highest = float(wrong.max(initial=-np.inf))
            if not right.size:
                yield Ranking(np.zeros(0, np.int64), -np.inf, highest)
                continue
            before = np.sort(wrong[wrong >= right[-1]])  # few, where the ranking is good
            ranks = before.size - np.searchsorted(before, right, side="left") + np.arange(right.size)
            yield Ranking(ranks, float(right[0]), highest)


def nearest(similarities: Similarities, queries: RowLabels, gallery: RowLabels, k: int) -> tuple[Indices, Rows]:
    """The `k` nearest gallery rows of each query, and their similarities: both (Q, k), k at most G.

    Equals come in the gallery's order. What is masked is -inf similar, and so comes last.
    """
    k = min(k, len(gallery))
    places, values = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for block, found in blocks(similarities, len(queries), len(gallery)):
        found[masked(queries.marks[block], gallery.marks)] = -np.inf
        places[block] = first(-found, k)
        values[block] = np.take_along_axis(found, places[block], axis=1)
    return places, values


def blocks(similarities: Similarities, queries: int, gallery: int) -> Iterator[tuple[slice, Rows]]:
    """Slices of the queries and their similarities, as many at a time as fit in BLOCK_BYTES."""
    step = max(1, BLOCK_BYTES // (4 * max(1, gallery)))
    for start in range(0, queries, step):
        block = slice(start, min(start + step, queries))
        yield block, np.array(similarities(block))


def first(distances: Rows, k: int) -> Indices:
    """The places of the `k` least of each row, least first, equals by place: (B, G) -> (B, k)."""
    if k >= distances.shape[1]:
        return np.argsort(distances, axis=1, kind="stable")
    limits = np.partition(distances, k - 1, axis=1)[:, k - 1]
    chosen = np.empty((len(distances), k), np.int64)
    for number, (row, limit) in enumerate(zip(distances, limits, strict=True)):
        near = np.flatnonzero(row <= limit)  # more than k where the last is not alone
        chosen[number] = near[np.argsort(row[near], kind="stable")[:k]]
    return chosen


def masked(queries: Indices, gallery: Indices) -> NDArray[np.bool_]:
    """(Q, G) which rows are never matched, by the marks of both sides."""
    return np.asarray((queries[:, None] == gallery) & (queries[:, None] != NO_MARK), np.bool_)

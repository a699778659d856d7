"""Several pictures as one vector: the mean of their embeddings, brought to the length 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.galleries.label_scores import EPSILON

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SUMMED_AT_ONCE = 4096  # rows


def sums_of(
    thing_of: NDArray[np.int64], dim: int, rows_at: Callable[[NDArray[np.int64]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(T, D): for each thing the sum of its rows. `thing_of` (N,) numbers the things of the rows from 0 on.

    `rows_at` gives rows by their places; it is called for one block after the other, for they may be mapped from files.
    """
    count = int(thing_of.max()) + 1 if len(thing_of) else 0
    sums = np.zeros((count, dim), np.float32)
    for start in range(0, len(thing_of), SUMMED_AT_ONCE):
        places = np.arange(start, min(start + SUMMED_AT_ONCE, len(thing_of)))
        things = thing_of[places]
        order = np.argsort(things, kind="stable")
        there, first = np.unique(things[order], return_index=True)
        sums[there] += np.add.reduceat(rows_at(places)[order], first, axis=0)
    return sums


def normalised(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows (T, D) at the length 1. Opposite embeddings leave zeros, to which nothing is similar."""
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), EPSILON), np.float32)

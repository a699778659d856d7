"""The cells of a detector's levels, and the boxes that their distances make."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Cells:
    """The M cells of all levels, level by level, row by row."""

    centres: Array  # (M, 2) x, y in pixels
    strides: Array  # (M,) pixels


@lru_cache
def cells_of(height: int, width: int, strides: Sequence[int] = (8, 16, 32, 64)) -> Cells:
    """The cells of an input of `height` x `width` pixels; a level that does not divide them has one more, as convolutions do."""
    centres, sizes = [], []
    for stride in strides:
        y, x = np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]
        centres.append((np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * stride)
        sizes.append(np.full(x.size, stride))
    return Cells(np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32))


def expected_distances(bins: Array) -> Array:
    """(..., 4 * K) logits over the distances 0 .. K - 1 of the four sides -> (..., 4) expectations, in strides."""
    logits = bins.reshape(*bins.shape[:-1], 4, -1)
    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True))
    steps = np.arange(logits.shape[-1], dtype=np.float32)
    return np.asarray((probabilities @ steps) / probabilities.sum(axis=-1), np.float32)


def boxes_of(cells: Cells, distances: Array) -> Array:
    """(..., M, 4) left, top, right, bottom in strides -> (..., M, 4) boxes x1, y1, x2, y2 in pixels."""
    pixels = distances * cells.strides[:, None]
    return np.concatenate([cells.centres - pixels[..., :2], cells.centres + pixels[..., 2:]], axis=-1)


def inside(cells: Cells, boxes: Array) -> NDArray[np.bool_]:
    """(M, G): the cell's centre lies within the box."""
    after = (cells.centres[:, None] > boxes[None, :, :2]).all(axis=2)
    before = (cells.centres[:, None] < boxes[None, :, 2:]).all(axis=2)
    return np.asarray(after & before)

"""Iterative quantisation: principal axes turned so that binary codes lose little, without labels. Where a projection begins, and what it must beat.

Gong and Lazebnik, "Iterative quantization: A procrustean approach to learning binary codes", CVPR 2011.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.training.errors import TrainingError

Array = NDArray[np.float32]
ITERATIONS = 40


@dataclass(frozen=True, eq=False)
class Rotation:
    """(N, D) rows -> (rows - mean) @ axes, (N, bits)."""

    mean: Array  # (D,)
    axes: Array  # (D, bits)

    def __call__(self, rows: Array) -> Array:
        """The turned rows, which are binarised by their sign."""
        return np.asarray((rows - self.mean) @ self.axes, np.float32)


def itq(rows: Array, bits: int, seed: int = 0, iterations: int = ITERATIONS) -> Rotation:
    """Learn from rows (N, D), D of `bits` or more. Raises TrainingError if there are fewer rows or dimensions than bits."""
    if min(rows.shape) < bits:
        raise TrainingError(f"{bits} bits need as many rows and dimensions; there are {rows.shape}")
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows.astype(np.float64) - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :bits]  # of the largest variance
    projected = centred @ axes
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(bits, bits)))[0]
    for _ in range(iterations):
        codes = np.where(projected @ turn > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(projected.T @ codes)
        turn = left @ right
    return Rotation(mean.astype(np.float32), (axes @ turn).astype(np.float32))

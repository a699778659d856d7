"""Slow, obvious numpy of what the official detector graph does after its heads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def decode(scores: Sequence[Array], distances: Sequence[Array], strides: Sequence[int], side: int) -> Array:
    """(1, 1, H, W) scores and (1, 32, H, W) bins a level -> (n, 5) rows: score, x1, y1, x2, y2, clipped to the image.

    Each level keeps its 1,000 best cells.
    """
    rows: list[list[float]] = []
    for level_scores, bins, stride in zip(scores, distances, strides, strict=True):
        level: list[list[float]] = []
        _, _, height, width = level_scores.shape
        for y in range(height):
            for x in range(width):
                logits = bins[0, :, y, x].reshape(4, 8).astype(np.float64)
                probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
                probabilities /= probabilities.sum(axis=1, keepdims=True)
                left, top, right, bottom = probabilities @ np.arange(8) * stride
                cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
                box = np.clip([cx - left, cy - top, cx + right, cy + bottom], 0, side)
                level.append([float(level_scores[0, 0, y, x]), *box])
        rows += sorted(level, reverse=True)[:1000]
    return np.asarray(rows, dtype=np.float32)


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(width * height / area) if area > 0 else 0.0


def suppress(rows: Array, score: float = 0.025, top: int = 1000, iou: float = 0.6, keep: int = 100) -> Array:
    """Greedy suppression, best score first, with the official thresholds."""
    candidates = sorted((row for row in rows if row[0] > score), key=lambda row: -row[0])[:top]
    kept: list[Array] = []
    for row in candidates:
        if all(overlap(row[1:], other[1:]) <= iou for other in kept):
            kept.append(row)
    return np.asarray(kept[:keep], dtype=np.float32).reshape(-1, 5)

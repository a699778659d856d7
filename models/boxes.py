"""Boxes as (N, 4) float32 arrays of (x1, y1, x2, y2): areas, overlaps, greedy suppression.

`offset` is 0 where x2/y2 are exclusive, as everywhere here, and 1 for the convention of PaddleClas' result suppression,
where both corners belong to the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


def area(boxes: Array, offset: float = 0.0) -> Array:
    """(N, 4) -> (N,); a box whose corners are swapped has none."""
    widths = np.maximum(boxes[:, 2] - boxes[:, 0] + offset, 0.0)
    heights = np.maximum(boxes[:, 3] - boxes[:, 1] + offset, 0.0)
    return np.asarray(widths * heights, np.float32)


def iou(first: Array, second: Array, offset: float = 0.0) -> Array:
    """Intersection over union of every pair: (N, 4), (M, 4) -> (N, M). Pairs of empty boxes get 0."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low + offset, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(first, offset)[:, None] + area(second, offset)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float32)


def suppress(boxes: Array, scores: Array, threshold: float, offset: float = 0.0) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: the indices that stay, best score first; equal scores keep their order.

    A box goes if its IoU with a better one that stays is above `threshold`.
    """
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = waiting[iou(boxes[best : best + 1], boxes[waiting], offset)[0] <= threshold]
    return np.asarray(kept, np.intp)


def clip(boxes: Array, height: int, width: int) -> Array:
    """The parts of (N, 4) boxes that lie within an image of `height` x `width` pixels."""
    return np.minimum(np.maximum(boxes, np.float32(0)), np.asarray([width, height, width, height], np.float32))

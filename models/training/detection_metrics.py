"""Average precision of one-class detections, AP50 and AP50:95, as the COCO evaluation defines them (equal to pycocotools')."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100  # detections of an image that count


class Marked(Protocol):
    """A picture whose objects are known."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""

    @property
    def boxes(self) -> Array:
        """(G, 4) pixels."""


Detections = tuple[Array, Array]  # boxes (D, 4), scores (D,)
Detect = Callable[[NDArray[np.uint8]], Detections]


def evaluate_detector(detect: Detect, scenes: Iterable[Marked]) -> dict[str, float]:
    """{"AP50", "AP50:95"} of `detect` (an RGB image to boxes and scores) on pictures with known boxes."""
    found, truth = [], []
    for scene in scenes:
        found.append(detect(scene.image))
        truth.append(np.asarray(scene.boxes, np.float32).reshape(-1, 4))
    return average_precision(found, truth)


def average_precision(found: Sequence[Detections], truth: Sequence[Array]) -> dict[str, float]:
    """{"AP50", "AP50:95"} over images; NaN where no image has an object."""
    objects = sum(len(boxes) for boxes in truth)
    if objects == 0:
        return {"AP50": float("nan"), "AP50:95": float("nan")}
    scores, hits = [], []
    for (boxes, confidence), own in zip(found, truth, strict=True):
        order = np.argsort(-np.asarray(confidence), kind="stable")[:MOST]
        scores.append(np.asarray(confidence, np.float64)[order])
        hits.append(_match(np.asarray(boxes, np.float32).reshape(-1, 4)[order], own))
    ranked = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits, axis=1)[:, ranked]  # (10, D)
    values = [_area_under(row, objects) for row in hit]
    return {"AP50": values[0], "AP50:95": float(np.mean(values))}


def _match(boxes: Array, own: Array) -> NDArray[np.bool_]:
    """(10, D): which detections, best score first, take an object that no better one took, at each threshold."""
    hits = np.zeros((len(THRESHOLDS), len(boxes)), bool)
    if not len(own):
        return hits
    ious = _overlaps(boxes.astype(np.float64), own.astype(np.float64))
    for row, threshold in zip(hits, THRESHOLDS, strict=True):
        free = np.ones(len(own), bool)
        for index, overlaps in enumerate(ious):
            # Of equal overlaps the last counts, as in the reference implementation.
            best = len(own) - 1 - int(np.argmax(np.where(free, overlaps, -1.0)[::-1]))
            if free[best] and overlaps[best] >= min(threshold, 1 - 1e-10):
                row[index], free[best] = True, False
    return hits


def _overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A, 4), (B, 4) -> (A, B) IoU in double precision, as the reference has it: a hit may hang on its last digits."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(sides, 0.0), axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    union: NDArray[np.float64] = area_a[:, None] + area_b[None, :] - common
    return np.divide(common, union, out=np.zeros_like(union), where=union > 0)


def _area_under(hits: NDArray[np.bool_], objects: int) -> float:
    """Precision, made non-increasing, read at 101 recalls and averaged."""
    true = np.cumsum(hits)
    recall = true / objects
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.mean(np.where(at < len(hits), np.append(envelope, 0.0)[np.minimum(at, len(hits))], 0.0)))

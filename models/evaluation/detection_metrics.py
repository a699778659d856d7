"""Average precision of one-class detections, AP50 and AP50:95, as the COCO evaluation defines them (equal to pycocotools')."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.training.data.detection_views import Picture

Array = NDArray[np.float32]
Wide = NDArray[np.float64]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100  # detections of an image that count


Detections = tuple[Array, Array]  # boxes (D, 4), scores (D,)
Detect = Callable[[NDArray[np.uint8]], Detections]


def detector_metrics(detect: Detect, pictures: Iterable[Picture]) -> dict[str, float]:
    """{"AP50", "AP50:95"} of `detect` (an RGB image to boxes and scores) on pictures with known boxes."""
    found, truth, crowds = [], [], []
    for picture in pictures:
        found.append(detect(picture.image))
        truth.append(np.asarray(picture.boxes, np.float32).reshape(-1, 4))
        crowds.append(picture.certainty == 0)
    return average_precision(found, truth, crowds)


def average_precision(
    found: Sequence[Detections], truth: Sequence[Array], crowds: Sequence[NDArray[np.bool_]] | None = None
) -> dict[str, float]:
    """{"AP50", "AP50:95"} over images; NaN where no image has an object.

    `crowds`: for each image (G,), which of its boxes are regions of many. What is found in one counts neither as right
    nor as wrong.
    """
    crowds = [np.zeros(len(own), np.bool_) for own in truth] if crowds is None else crowds
    objects = sum(int((~crowd).sum()) for crowd in crowds)
    if objects == 0:
        return {"AP50": float("nan"), "AP50:95": float("nan")}
    _, hit = _ranked(found, truth, crowds)
    values = [_area_under(row[row >= 0] == 1, objects) for row in hit]
    return {"AP50": values[0], "AP50:95": float(np.mean(values))}


def best_threshold(
    found: Sequence[Detections],
    truth: Sequence[Array],
    crowds: Sequence[NDArray[np.bool_]] | None = None,
    beta: float = 1.0,
) -> dict[str, float]:
    """{"threshold", "precision", "recall"}: the score from which boxes have the best F_beta at IoU 0.5, and what it is there.

    `beta` above 1 holds a missed object for worse than a wrong box (van Rijsbergen, "Information Retrieval", chapter 7).

    What to serve a detector with: average precision does not mind a hundred wrong boxes with low scores, a user does.
    All are NaN where nothing is found or there is no object.
    """
    crowds = [np.zeros(len(own), np.bool_) for own in truth] if crowds is None else crowds
    scores, hits = _ranked(found, truth, crowds)
    counted = hits[0] >= 0
    scores, hit = scores[counted], hits[0][counted] == 1
    objects = sum(int((~crowd).sum()) for crowd in crowds)
    if objects == 0 or not hit.any():
        return dict.fromkeys(("threshold", "precision", "recall"), float("nan"))
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # equal scores pass together
    right = np.cumsum(hit)[last]
    best = int(np.argmax(right / (last + 1 + beta**2 * objects)))  # F_beta, but for a constant factor
    return {
        "threshold": float(scores[last[best]]),
        "precision": float(right[best] / (last[best] + 1)),
        "recall": float(right[best] / objects),
    }


def _ranked(
    found: Sequence[Detections], truth: Sequence[Array], crowds: Sequence[NDArray[np.bool_]]
) -> tuple[Wide, NDArray[np.int8]]:
    """All images' scores (D,), best first, and their hits (10, D)."""
    scores, hits = [], []
    for (boxes, confidence), own, crowd in zip(found, truth, crowds, strict=True):
        order = np.argsort(-np.asarray(confidence), kind="stable")[:MOST]
        scores.append(np.asarray(confidence, np.float64)[order])
        ranked_boxes = np.asarray(boxes, np.float64).reshape(-1, 4)[order]
        hits.append(_match(ranked_boxes, own[~crowd].astype(np.float64), own[crowd].astype(np.float64)))
    every = np.concatenate(scores)
    ranked = np.argsort(-every, kind="stable")
    return every[ranked], np.concatenate(hits, axis=1)[:, ranked]


def _match(boxes: Wide, own: Wide, regions: Wide) -> NDArray[np.int8]:
    """(10, D), at each threshold, detections best score first: 1 takes an object that no better one took, 0 takes none,
    -1 takes none but lies in a region that is passed over."""
    hits = np.zeros((len(THRESHOLDS), len(boxes)), np.int8)
    ious, within = _overlaps(boxes, own), _overlaps(boxes, regions, of_first=True)
    for row, threshold in zip(hits, THRESHOLDS, strict=True):
        least = min(threshold, 1 - 1e-10)
        free = np.ones(len(own), bool)
        for index, overlaps in enumerate(ious):
            if len(own):
                # Of equal overlaps the last counts, as in the reference implementation.
                best = len(own) - 1 - int(np.argmax(np.where(free, overlaps, -1.0)[::-1]))
                if free[best] and overlaps[best] >= least:
                    row[index], free[best] = 1, False
                    continue
            if len(regions) and within[index].max() >= least:
                row[index] = -1
    return hits


def _overlaps(a: Wide, b: Wide, *, of_first: bool = False) -> Wide:
    """(A, 4), (B, 4) -> (A, B) IoU in double precision, as the reference has it: a hit may hang on its last digits.

    With `of_first` it is the fraction of the first box that lies in the second, which is what counts for regions.
    """
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(sides, 0.0), axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    union: Wide = np.broadcast_to(area_a[:, None], common.shape)
    if not of_first:
        union = area_a[:, None] + area_b[None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def _area_under(hits: NDArray[np.bool_], objects: int) -> float:
    """Precision, made non-increasing, read at 101 recalls and averaged."""
    true = np.cumsum(hits)
    recall = true / objects
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.mean(np.where(at < len(hits), np.append(envelope, 0.0)[np.minimum(at, len(hits))], 0.0)))

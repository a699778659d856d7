"""AP50 and AP50:95 against pycocotools on the same detections, and where the answer is known without it."""

import contextlib
import io
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from models.boxes import iou
from models.evaluation.detection_metrics import Detections, average_precision, best_threshold, detector_metrics
from models.training.data.detection_views import Picture

Array = NDArray[np.float32]
NONE = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def reference(
    found: list[Detections], truth: list[Array], crowds: list[NDArray[np.bool_]] | None = None
) -> dict[str, float]:
    """What pycocotools says. It takes x, y, width, height."""
    crowd_flags = np.concatenate(crowds).tolist() if crowds else [False] * sum(len(boxes) for boxes in truth)

    def row(box: NDArray[np.float64]) -> list[float]:
        return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]

    objects = [(image, row(box)) for image, boxes in enumerate(truth) for box in boxes.astype(np.float64)]
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)}
        for number, ((image, box), crowd) in enumerate(zip(objects, crowd_flags, strict=True), 1)
    ]
    results = [
        {"image_id": image, "category_id": 1, "bbox": row(box), "score": float(score)}
        for image, (boxes, scores) in enumerate(found)
        for box, score in zip(boxes.astype(np.float64), scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(len(truth))],
            "categories": [{"id": 1, "name": "foreground"}],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"AP50": float(evaluation.stats[1]), "AP50:95": float(evaluation.stats[0])}


def some_images(seed: int, images: int, most: int) -> tuple[list[Detections], list[Array]]:
    """Objects, and detections that are near them, duplicated, missing or wrong; some pictures have neither."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(images):
        corner = rng.uniform(0, 80, (rng.integers(0, most), 2))
        own = np.concatenate([corner, corner + rng.uniform(10, 60, corner.shape)], axis=1).astype(np.float32)
        copies = np.repeat(own, rng.integers(0, 3, len(own)), axis=0)
        near = copies + rng.normal(0, 3, copies.shape)
        wrong = rng.uniform(0, 60, (rng.integers(0, 4), 2))
        boxes = np.concatenate([near, np.concatenate([wrong, wrong + 30], axis=1)]).astype(np.float32)
        truth.append(own)
        found.append((boxes, rng.random(len(boxes)).astype(np.float32)))
    return found, truth


@pytest.mark.parametrize("seed", range(6))
def test_it_is_pycocotools(seed: int) -> None:
    found, truth = some_images(seed, images=12, most=6)
    assert average_precision(found, truth) == pytest.approx(reference(found, truth), abs=1e-9)


def test_equal_scores_and_equal_overlaps_count_as_in_pycocotools() -> None:
    found, truth = some_images(9, images=10, most=6)
    found = [(boxes, np.round(scores, 1).astype(np.float32)) for boxes, scores in found]
    truth = [np.concatenate([boxes, boxes[:1]]) for boxes in truth]  # the first object twice
    assert average_precision(found, truth) == pytest.approx(reference(found, truth), abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_regions_of_many_are_ignored_as_in_pycocotools(seed: int) -> None:
    found, truth = some_images(20 + seed, images=12, most=6)
    found = [(boxes, np.round(scores, 1).astype(np.float32)) for boxes, scores in found]
    rng = np.random.default_rng(seed)
    crowds = [rng.random(len(boxes)) < 0.4 for boxes in truth]
    metrics = average_precision(found, truth, crowds)
    assert metrics == pytest.approx(reference(found, truth, crowds), abs=1e-9)
    assert metrics != average_precision(found, truth)


def test_only_the_best_hundred_of_an_image_count() -> None:
    rng = np.random.default_rng(4)
    own = np.array([[10, 10, 50, 50]], np.float32)
    boxes = np.concatenate([np.tile(np.array([[60, 60, 90, 90]], np.float32), (120, 1)), own])
    scores = np.append(rng.uniform(0.5, 1, 120), 0.1).astype(np.float32)
    assert average_precision([(boxes, scores)], [own]) == {"AP50": 0, "AP50:95": 0}
    assert reference([(boxes, scores)], [own]) == {"AP50": 0, "AP50:95": 0}


def test_perfect_and_empty() -> None:
    truth = [np.array([[0, 0, 10, 10], [20, 20, 40, 50]], np.float32)]
    perfect = [(truth[0], np.array([0.9, 0.8], np.float32))]
    assert average_precision(perfect, truth) == pytest.approx({"AP50": 1, "AP50:95": 1})
    assert average_precision([NONE], truth) == {"AP50": 0, "AP50:95": 0}
    assert math.isnan(average_precision([NONE], [np.zeros((0, 4), np.float32)])["AP50"])


def test_a_box_of_iou_0_6_counts_at_three_of_ten_thresholds() -> None:
    truth = [np.array([[0, 0, 100, 100]], np.float32)]
    found = [(np.array([[0, 0, 100, 62]], np.float32), np.array([0.5], np.float32))]
    assert average_precision(found, truth) == pytest.approx({"AP50": 1, "AP50:95": 0.3})


def test_a_detector_runs_on_every_picture() -> None:
    boxes = [np.array([[0, 0, 8, 8 + n]], np.float32) for n in range(3)]
    scenes = [Picture(np.full((20, 20, 3), n, np.uint8), own) for n, own in enumerate(boxes)]

    def detect(image: NDArray[np.uint8]) -> Detections:
        number = int(image[0, 0, 0])
        return (boxes[number], np.ones(1, np.float32)) if number < 2 else NONE

    metrics = detector_metrics(detect, scenes)
    assert 0.6 < metrics["AP50"] < 0.7


@pytest.mark.parametrize(("seed", "beta"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)])
def test_the_best_threshold_is_that_of_all_which_could_be_chosen(seed: int, beta: float) -> None:
    """One threshold after the other: what passes it, matched again."""
    found, truth = some_images(40 + seed, images=8, most=5)
    found = [(boxes, np.round(scores, 1).astype(np.float32)) for boxes, scores in found]
    objects, best = sum(map(len, truth)), (-1.0, 0.0, 0.0, 0.0)
    for threshold in np.unique(np.concatenate([scores for _, scores in found])):
        right = shown = 0
        for (boxes, scores), own in zip(found, truth, strict=True):
            passing = np.flatnonzero(scores >= threshold)
            shown += len(passing)
            free = list(range(len(own)))
            for index in passing[np.argsort(-scores[passing], kind="stable")]:
                overlaps = [(float(iou(boxes[index : index + 1], own[g : g + 1])[0, 0]), g) for g in free]
                if overlaps and max(overlaps)[0] >= 0.5:
                    free.remove(max(overlaps)[1])
                    right += 1
        f_beta = (1 + beta**2) * right / (shown + beta**2 * objects)
        best = max(best, (f_beta, float(threshold), right / shown, right / objects))
    metrics = best_threshold(found, truth, beta=beta)
    precision, recall = metrics["precision"], metrics["recall"]
    assert (1 + beta**2) * precision * recall / (beta**2 * precision + recall) == pytest.approx(best[0])
    assert metrics == pytest.approx({"threshold": best[1], "precision": best[2], "recall": best[3]})


def test_nothing_found_has_no_best_threshold() -> None:
    assert math.isnan(best_threshold([NONE], [np.array([[0, 0, 10, 10]], np.float32)])["threshold"])

"""Boxes against slow, obvious arithmetic."""

import numpy as np
import pytest

from models.boxes import area, clip, iou, suppress


def random_boxes(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    low = random.uniform(0, 80, (count, 2))
    return np.concatenate([low, low + random.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)


def slow_iou(a: np.ndarray, b: np.ndarray, offset: float) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_iou_is_what_it_is(offset: float) -> None:
    first, second = random_boxes(20, 1), random_boxes(15, 2)
    expected = [[slow_iou(a.astype(float), b.astype(float), offset) for b in second] for a in first]
    np.testing.assert_allclose(iou(first, second, offset), expected, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.6])
def test_suppression_keeps_the_best_of_each_heap(threshold: float, offset: float) -> None:
    boxes = random_boxes(60, 3)
    scores = np.random.default_rng(4).uniform(size=60).astype(np.float32)
    expected: list[int] = []
    for i in sorted(range(60), key=lambda index: -scores[index]):
        if all(slow_iou(boxes[i].astype(float), boxes[j].astype(float), offset) <= threshold for j in expected):
            expected.append(i)
    assert suppress(boxes, scores, threshold, offset).tolist() == expected
    assert 1 < len(expected) < 60


def test_equal_scores_keep_their_order_and_nothing_gives_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]], np.float32)
    assert suppress(boxes, np.ones(3, np.float32), 0.5).tolist() == [0, 1]
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []


def test_a_box_that_touches_the_threshold_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert suppress(boxes, scores, 0.5).tolist() == [0, 1]
    assert suppress(boxes, scores, 0.49).tolist() == [0]


def test_empty_boxes_have_no_area_and_no_overlap() -> None:
    empty = np.array([[5, 5, 5, 5], [9, 9, 3, 3]], np.float32)
    assert area(empty).tolist() == [0, 0]
    assert iou(empty, empty).tolist() == [[0, 0], [0, 0]]


def test_clipping_keeps_boxes_in_the_image() -> None:
    boxes = np.array([[-5, -6, 30, 40], [2, 3, 4, 5]], np.float32)
    clipped = clip(boxes, 20, 25)
    assert clipped.tolist() == [[0, 0, 25, 20], [2, 3, 4, 5]]
    assert clipped.dtype == np.float32

"""SimOTA against a slow, obvious version of its paper, and what holds of every assignment."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.cells import boxes_of, cells_of, expected_distances
from models.training.losses.assign import Assignment, assign

Array = NDArray[np.float32]
STRIDES = (8, 16, 32, 64)
SIDE = 128


def some_boxes(rng: np.random.Generator, count: int) -> Array:
    corner, size = rng.uniform(0, 90, (count, 2)), rng.uniform(8, 80, (count, 2))
    return np.concatenate([corner, np.minimum(corner + size, SIDE)], axis=1).astype(np.float32)


def some_predictions(rng: np.random.Generator, boxes: Array) -> tuple[Array, Array]:
    """Scores and boxes of all cells: noise, with good boxes among them, as in the middle of training."""
    cells = cells_of(SIDE, SIDE)
    scores = rng.uniform(0.01, 0.9, len(cells.strides)).astype(np.float32)
    predicted = boxes_of(cells, rng.uniform(0, 4, (len(cells.strides), 4)).astype(np.float32))
    if len(boxes):
        near = rng.random(len(predicted)) < 0.4
        predicted[near] = boxes[rng.integers(0, len(boxes), near.sum())] + rng.normal(0, 5, (near.sum(), 4))
    return scores, predicted.astype(np.float32)


def overlap(a: Array, b: Array) -> float:
    width = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    height = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    areas = [max(0.0, float(c[2] - c[0])) * max(0.0, float(c[3] - c[1])) for c in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


def slow_assign(scores: Array, predicted: Array, boxes: Array, candidates: int = 10) -> dict[int, int]:
    """Cell -> box, one pair at a time."""
    cells = [
        ((x + 0.5) * stride, (y + 0.5) * stride, stride)
        for stride in STRIDES
        for y in range(SIDE // stride)
        for x in range(SIDE // stride)
    ]
    cost: dict[tuple[int, int], float] = {}
    ious: dict[tuple[int, int], float] = {}
    possible = set()
    for cell, (x, y, stride) in enumerate(cells):
        for box, (x1, y1, x2, y2) in enumerate(boxes):
            inside = x1 < x < x2 and y1 < y < y2
            central = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 2.5 * stride
            iou = ious[cell, box] = overlap(predicted[cell], boxes[box])
            p = float(scores[cell])
            varifocal = -iou * (iou * np.log(p) + (1 - iou) * np.log(1 - p))
            cost[cell, box] = varifocal - 6 * np.log(iou + 1e-8) + (0 if inside and central else 1e5)
            if inside or central:
                possible.add(cell)
    wanting: dict[int, list[int]] = {}
    for box in range(len(boxes)):
        best_ious = sorted((ious[cell, box] for cell in possible), reverse=True)[:candidates]
        for cell in sorted(possible, key=lambda c: cost[c, box])[: max(1, int(sum(best_ious)))]:
            wanting.setdefault(cell, []).append(box)
    return {cell: min(wanted_by, key=lambda b: cost[cell, b]) for cell, wanted_by in wanting.items()}


def as_dict(assignment: Assignment) -> dict[int, int]:
    return dict(zip(assignment.cells.tolist(), assignment.boxes.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng, 1 + seed % 5)
    scores, predicted = some_predictions(rng, boxes)
    found = assign(scores, predicted, boxes, cells_of(SIDE, SIDE))
    assert as_dict(found) == slow_assign(scores, predicted, boxes)
    for cell, box, iou in zip(found.cells, found.boxes, found.ious, strict=True):
        assert iou == pytest.approx(overlap(predicted[cell], boxes[box]), abs=1e-5)


def test_every_box_gets_a_cell_even_where_no_prediction_touches_it() -> None:
    boxes = np.array([[10, 10, 40, 60], [90, 90, 120, 127]], np.float32)
    cells = cells_of(SIDE, SIDE)
    nowhere = np.tile(np.array([0, 0, 1, 1], np.float32), (len(cells.strides), 1))
    found = assign(np.full(len(cells.strides), 0.01, np.float32), nowhere, boxes, cells)
    assert sorted(found.boxes.tolist()) == [0, 1]


def test_a_picture_without_boxes_has_no_positives() -> None:
    rng = np.random.default_rng(0)
    none = np.zeros((0, 4), np.float32)
    found = assign(*some_predictions(rng, none), none, cells_of(SIDE, SIDE))
    assert len(found.cells) == len(found.boxes) == len(found.ious) == 0


def test_a_cell_wanted_by_two_boxes_answers_for_one() -> None:
    rng = np.random.default_rng(3)
    boxes = np.array([[20, 20, 100, 100], [22, 18, 104, 98]], np.float32)
    found = assign(*some_predictions(rng, boxes), boxes, cells_of(SIDE, SIDE))
    assert len(set(found.cells.tolist())) == len(found.cells)
    assert set(found.boxes.tolist()) == {0, 1}


def test_cells_lie_level_by_level_row_by_row() -> None:
    cells = cells_of(64, 128)
    assert len(cells.strides) == 8 * 16 + 4 * 8 + 2 * 4 + 1 * 2
    assert cells.centres[:2].tolist() == [[4, 4], [12, 4]]
    assert cells.centres[16].tolist() == [4, 12]
    assert cells.centres[-1].tolist() == [96, 32]


def test_distances_are_expectations_and_boxes_span_them() -> None:
    bins = np.full((1, 4, 8), -30, np.float32)
    bins[0, 0, 2] = bins[0, 1, 0] = bins[0, 2, 7] = 30
    bins[0, 3, 3] = bins[0, 3, 4] = 30
    distances = expected_distances(bins.reshape(1, 32))
    np.testing.assert_allclose(distances, [[2, 0, 7, 3.5]], atol=1e-5)
    cells = cells_of(64, 64)
    first = boxes_of(cells, np.tile(distances, (len(cells.strides), 1)))[0]
    np.testing.assert_allclose(first, [4 - 16, 4, 4 + 56, 4 + 28], atol=1e-4)

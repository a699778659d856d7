"""ATSS against a slow, obvious version of its paper, and what holds of every assignment."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.cells import cells_of
from models.training.losses.atss import assign_atss
from tests.models.training.losses.test_assign import SIDE, STRIDES, as_dict, overlap, some_boxes, some_predictions

Array = NDArray[np.float32]


def slow_atss(boxes: Array, candidates: int = 9, anchor: float = 8.0) -> dict[int, int]:
    """Cell -> box, one box after the other."""
    owners: dict[int, tuple[float, int]] = {}
    for box, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        number, near = 0, []
        for stride in STRIDES:
            level = []
            for y in range(SIDE // stride):
                for x in range(SIDE // stride):
                    cx, cy, half = (x + 0.5) * stride, (y + 0.5) * stride, anchor * stride / 2
                    away = (cx - (x1 + x2) / 2) ** 2 + (cy - (y1 + y2) / 2) ** 2
                    own = np.array([cx - half, cy - half, cx + half, cy + half], np.float32)
                    level.append((away, number, cx, cy, overlap(own, boxes[box])))
                    number += 1
            near += sorted(level)[:candidates]
        overlaps = np.array([iou for *_, iou in near])
        least = overlaps.mean() + overlaps.std(ddof=1)
        for _, cell, cx, cy, iou in near:
            if iou >= least and x1 < cx < x2 and y1 < cy < y2:
                best = owners.get(cell, (-1.0, 0))
                if iou > best[0]:
                    owners[cell] = (iou, box)
    return {cell: box for cell, (_, box) in owners.items()}


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng, 1 + seed % 5)
    _, predicted = some_predictions(rng, boxes)
    found = assign_atss(predicted, boxes, cells_of(SIDE, SIDE))
    assert len(found.cells) > 0
    assert as_dict(found) == slow_atss(boxes)
    for cell, box, iou in zip(found.cells, found.boxes, found.ious, strict=True):
        assert iou == pytest.approx(overlap(predicted[cell], boxes[box]), abs=1e-5)


def test_it_does_not_use_the_predictions() -> None:
    rng = np.random.default_rng(1)
    boxes = some_boxes(rng, 3)
    found = [as_dict(assign_atss(some_predictions(rng, boxes)[1], boxes, cells_of(SIDE, SIDE))) for _ in range(2)]
    assert found[0] == found[1]


def test_a_picture_without_boxes_has_no_positives() -> None:
    none = np.zeros((0, 4), np.float32)
    cells = cells_of(SIDE, SIDE)
    found = assign_atss(np.zeros((len(cells.strides), 4), np.float32), none, cells)
    assert len(found.cells) == len(found.boxes) == len(found.ious) == 0

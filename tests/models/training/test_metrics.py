"""recall@1 against loops over every pair."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.metrics import leave_one_out_recall_at_1, recall_at_1


def rows_and_labels(seed: int, count: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 6))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32), rng.integers(0, classes, count)


def nearest(query: NDArray[np.float32], rows: NDArray[np.float32], but: int = -1) -> int:
    best, similarity = -1, -math.inf
    for index, row in enumerate(rows):
        if index != but and float(query @ row) > similarity:
            best, similarity = index, float(query @ row)
    return best


@pytest.mark.parametrize("seed", range(5))
def test_recall_at_1_counts_right_nearest_neighbours(seed: int) -> None:
    queries, asked = rows_and_labels(seed, 30, 3)
    gallery, known = rows_and_labels(seed + 100, 12, 3)
    right = [known[nearest(query, gallery)] == label for query, label in zip(queries, asked, strict=True)]
    assert recall_at_1(queries, asked, gallery, known) == pytest.approx(np.mean(right))
    assert 0 < np.mean(right) < 1


@pytest.mark.parametrize("seed", range(5))
def test_leave_one_out_asks_all_but_the_lonely(seed: int) -> None:
    rows, labels = rows_and_labels(seed, 25, 12)
    asked = [i for i in range(25) if (labels == labels[i]).sum() > 1]
    assert 0 < len(asked) < 25
    right = [labels[nearest(rows[i], rows, but=i)] == labels[i] for i in asked]
    assert leave_one_out_recall_at_1(rows, labels) == pytest.approx(np.mean(right))


def test_leave_one_out_never_finds_the_row_itself() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    assert leave_one_out_recall_at_1(rows, np.array([0, 1, 0, 1])) == 0.0
    assert leave_one_out_recall_at_1(rows, np.array([0, 0, 1, 1])) == 1.0


def test_where_every_label_stands_alone_there_is_no_figure() -> None:
    assert math.isnan(leave_one_out_recall_at_1(np.eye(3, dtype=np.float32), np.arange(3)))

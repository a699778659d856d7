"""A precision of fewer bits passes where it answers as fp32, and fails by one wrong label, decision or probability."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.precision_gate import Agreement, agreement, enough, same_boxes
from models.galleries.calibration import from_threshold


def gallery() -> tuple[list[str], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Four pictures of each of ten labels, and a view of each."""
    rng = np.random.default_rng(1)
    middles = rng.normal(size=(10, 32))
    labels = [f"p{n}" for n in range(10) for _ in range(4)]
    rows = np.repeat(middles, 4, axis=0) + 0.2 * rng.normal(size=(40, 32))
    queries = np.concatenate([rows, rows + 0.2 * rng.normal(size=rows.shape)])
    return labels, (unit(rows), unit(queries))


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_the_same_rows_agree_and_one_other_label_in_eighty_does_not_pass() -> None:
    labels, full = gallery()
    calibration = from_threshold(0.5)
    assert agreement(labels, full, full, calibration) == Agreement(80, 1.0, 1.0, 0.0)
    queries = full[1].copy()
    queries[40] = full[0][39]  # a view of the first label that looks like the last one's
    changed = agreement(labels, full, (full[0], queries), calibration)
    assert changed.same_label == pytest.approx(79 / 80)
    assert not changed.passes


def test_probabilities_must_hold_where_labels_do() -> None:
    labels, (rows, queries) = gallery()
    rows, queries = (np.pad(one, ((0, 0), (0, 1))) for one in (rows, queries))
    faded = unit(queries + np.eye(33)[-1] * 0.5)  # less like everything, by the same factor
    found = agreement(labels, (rows, queries), (rows, faded), from_threshold(0.8))
    assert found.same_label == 1.0
    assert found.moved > 0.01
    assert not found.passes


def test_a_query_does_not_find_its_own_picture() -> None:
    labels = ["a", "b", "b"]
    rows = unit(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    found = agreement(
        labels, (rows, np.concatenate([rows, rows])), (rows, np.concatenate([rows, rows])), from_threshold(0.5)
    )
    assert found.same_label == 1.0


def test_few_pictures_or_one_label_say_nothing() -> None:
    assert enough(["a", "b"] * 5)
    assert not enough(["a", "b"] * 4)
    assert not enough(["a"] * 100)


def test_boxes_are_the_same_by_half_of_both_together() -> None:
    box = (0, 0, 10, 10)
    assert same_boxes([[box]], [[(0, 0, 10, 9)]]) == 1.0
    assert same_boxes([[box]], [[(5, 5, 15, 15)]]) == 0.0
    assert same_boxes([[], [box]], [[], []]) == 0.5
    assert same_boxes([], []) == 1.0

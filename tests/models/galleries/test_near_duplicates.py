from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.galleries.gallery import Gallery
from models.galleries.near_duplicates import Near, near_duplicates
from models.vectors import unit_rows
from tests.models.galleries.clusters import DIM, Thing

BASE = unit_rows(np.random.default_rng(0).normal(size=(4, DIM)).astype(np.float32))
GALLERY = Gallery([Thing("a", "cola"), Thing("b", "tea")], BASE[:2])


def like(row: int, amount: float = 0.02) -> NDArray[np.float32]:
    """A vector near to one of BASE."""
    noise = np.random.default_rng(100 + row).normal(size=DIM).astype(np.float32)
    return np.asarray(unit_rows((BASE[row] + amount * noise)[None])[0], np.float32)


def found(
    *new: tuple[str, str, NDArray[np.float32]], skip: bool = False, own: tuple[str, ...] = ()
) -> list[Near | None]:
    items = [Thing(name, label) for name, label, _ in new]
    return near_duplicates(GALLERY, items, np.stack([row for _, _, row in new]), own, skip=skip)


def test_what_is_near_is_reported_and_what_is_not_is_not() -> None:
    first, second, third = found(("x", "cola", like(0)), ("y", "cola", like(0, 0.2)), ("z", "milk", like(2)))
    assert first is not None
    assert (first.item_id, first.label, first.skipped) == ("a", "cola", False)
    assert 0.97 <= first.similarity < 1
    assert (second, third) == (None, None)


def test_one_of_its_own_label_is_left_out_and_one_of_another_is_reported() -> None:
    same, other = found(("x", "cola", like(0)), ("y", "milk", like(1)), skip=True)
    assert same is not None
    assert other is not None
    assert (same.skipped, other.skipped, other.label) == (True, False, "tea")


def test_those_before_it_in_the_request_count_unless_they_are_left_out() -> None:
    _, second = found(("x", "milk", like(2)), ("y", "milk", like(2, 0.01)))
    assert second is not None
    assert second.item_id == "x"
    _, second = found(("x", "cola", like(0)), ("y", "cola", like(0, 0.01)), skip=True)
    assert second is not None
    assert second.item_id == "a"


def test_its_own_label_is_reported_rather_than_a_nearer_other() -> None:
    (near,) = near_duplicates(
        Gallery([Thing("a", "cola"), Thing("b", "milk")], np.stack([BASE[0], like(0, 0.02)])),
        [Thing("x", "milk")],
        like(0, 0.001)[None],
        skip=True,
    )
    assert near is not None
    assert (near.item_id, near.skipped) == ("b", True)


def test_what_an_attempt_before_added_is_no_near_duplicate() -> None:
    assert found(("a", "cola", BASE[0])) == [None]  # its own id
    assert found(("x", "cola", like(0)), own=("a",)) == [None]
    empty = Gallery([], np.empty((0, 0), np.float32))
    assert near_duplicates(empty, [Thing("x", "cola")], BASE[:1]) == [None]
    assert near_duplicates(GALLERY, [], np.empty((0, DIM), np.float32)) == []

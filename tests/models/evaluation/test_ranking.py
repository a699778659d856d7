"""Rankings: blocks of any size alike, ties, masks, and memory."""

import tracemalloc

import numpy as np
import pytest

from models.evaluation import ranking
from models.evaluation.ranking import NO_MARK, RowLabels, first, inner_products, nearest, rank


def row_labels(labels: list[int], marks: list[int] | None = None) -> RowLabels:
    return RowLabels(np.array(labels), np.array(marks if marks is not None else [NO_MARK] * len(labels)))


GALLERY = np.array([[1, 0], [0.5, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
QUERY = np.array([[1, 0]], np.float32)


def test_ranks_count_what_comes_before_and_equals_that_are_wrong_come_before() -> None:
    (found,) = rank(inner_products(QUERY, GALLERY), row_labels([7]), row_labels([7, 7, 3, 3, 7]))
    assert found.ranks.tolist() == [1, 2, 4]
    assert (found.right, found.wrong) == (1.0, 1.0)


def test_what_is_masked_is_neither_right_nor_before_the_right() -> None:
    gallery = row_labels([7, 7, 3, 3, 7], [5, NO_MARK, 5, 6, NO_MARK])
    (found,) = rank(inner_products(QUERY, GALLERY), row_labels([7], [5]), gallery)
    assert found.ranks.tolist() == [0, 2]
    assert (found.right, found.wrong) == (0.5, 0.0)


def test_a_query_without_a_right_row_has_no_ranks() -> None:
    (found,) = rank(inner_products(QUERY, GALLERY), row_labels([9]), row_labels([7, 7, 3, 3, 7]))
    assert found.ranks.size == 0
    assert (found.right, found.wrong) == (-np.inf, 1.0)
    (found,) = rank(inner_products(QUERY, GALLERY), row_labels([7]), row_labels([7] * 5))
    assert found.ranks.tolist() == [0, 1, 2, 3, 4]
    assert found.wrong == -np.inf


def test_the_nearest_come_in_the_gallerys_order_where_they_are_equal() -> None:
    places, values = nearest(
        inner_products(QUERY, GALLERY), row_labels([7], [5]), row_labels([0] * 5, [NO_MARK] * 4 + [5]), 9
    )
    assert places.tolist() == [[0, 2, 1, 3, 4]]
    assert values.tolist() == [[1, 1, 0.5, 0, -np.inf]]


@pytest.mark.parametrize("k", range(1, 9))
def test_the_first_are_those_of_a_stable_sort(k: int) -> None:
    distances = np.random.default_rng(k).integers(0, 4, (50, 7)).astype(np.float32)
    np.testing.assert_array_equal(first(distances, k), np.argsort(distances, axis=1, kind="stable")[:, :k])


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, (40, 4)).astype(np.float32)
    each = row_labels(rng.integers(0, 5, 40).tolist(), list(range(40)))
    whole = [found.ranks.tolist() for found in rank(inner_products(rows, rows), each, each)]
    for held in (1, 4 * 40 * 7):
        monkeypatch.setattr(ranking, "BLOCK_BYTES", held)
        assert [found.ranks.tolist() for found in rank(inner_products(rows, rows), each, each)] == whole
    assert any(whole)


def test_memory_is_bounded_by_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 1 << 20)
    rows = np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)
    each = row_labels((np.arange(4000) // 4).tolist(), list(range(4000)))
    tracemalloc.start()
    try:
        assert sum(found.ranks.size for found in rank(inner_products(rows, rows), each, each)) == 3 * 4000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # all similarities would be 64 MB
    finally:
        tracemalloc.stop()

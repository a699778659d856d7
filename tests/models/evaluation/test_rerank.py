"""k-reciprocal re-ranking against the paper's algorithm in sets and loops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation import ranking
from models.evaluation.metrics import retrieval_metrics
from models.evaluation.ranking import NO_MARK, RowLabels, inner_products, rank
from models.evaluation.rerank import reranked
from tests.models.training.retrieval_reference import reranked_distances


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def clusters(seed: int, count: int, dim: int = 5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    return unit(rng.normal(size=(4, dim))[labels] + 0.9 * rng.normal(size=(count, dim))), labels


@pytest.mark.parametrize(("k1", "k2", "blend"), [(6, 3, 0.3), (20, 6, 0.3), (5, 1, 0.0), (3, 2, 1.0)])
def test_distances_are_the_papers(k1: int, k2: int, blend: float) -> None:
    rows, _ = clusters(k1, 36)
    expected = reranked_distances(rows.astype(np.float64), 12, k1, k2, blend)[:, 12:]
    found = reranked(rows[:12], rows[12:], k1, k2, blend)(slice(0, 12))
    np.testing.assert_allclose(-found, expected, atol=1e-5)


def test_without_a_gallery_the_queries_query_each_other() -> None:
    rows, _ = clusters(1, 30)
    expected = reranked_distances(rows.astype(np.float64), 30, 6, 3, 0.3)
    np.testing.assert_allclose(-reranked(rows, None, 6, 3)(slice(0, 30)), expected, atol=1e-5)


def test_equal_rows_rank_by_their_place() -> None:
    rows = np.eye(3, dtype=np.float32)[np.array([0, 1, 0, 2, 1, 0, 0, 2, 1])]  # distances are exactly 0 and 2
    expected = reranked_distances(rows.astype(np.float64), 3, 2, 2, 0.3)[:, 3:]
    np.testing.assert_allclose(-reranked(rows[:3], rows[3:], 2, 2)(slice(0, 3)), expected, atol=1e-6)


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = clusters(2, 40)
    whole = reranked(rows[:15], rows[15:], 6, 3)(slice(0, 15))
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 500)
    again = reranked(rows[:15], rows[15:], 6, 3)
    np.testing.assert_allclose(np.concatenate([again(slice(0, 4)), again(slice(4, 15))]), whole, atol=1e-6)


def test_it_ranks_clusters_better() -> None:
    rows, labels = clusters(3, 200)
    each = RowLabels(labels, np.arange(200))
    before = retrieval_metrics(rank(inner_products(rows, rows), each, each))
    after = retrieval_metrics(rank(reranked(rows, None), each, each))
    assert after["retrieval_mAP"] > before["retrieval_mAP"] + 0.02


def test_fewer_rows_than_neighbours_and_rows_all_alike_still_have_distances() -> None:
    rows, _ = clusters(4, 5)
    expected = reranked_distances(rows.astype(np.float64), 2, 20, 6, 0.3)[:, 2:]
    np.testing.assert_allclose(-reranked(rows[:2], rows[2:])(slice(0, 2)), expected, atol=1e-5)
    same = np.tile(np.array([[1, 0]], np.float32), (60, 1))  # more than are compared
    assert np.isfinite(reranked(same, None)(slice(0, 60))).all()


def test_a_mask_holds_for_re_ranked_similarities_too() -> None:
    rows, labels = clusters(5, 30)
    some = list(rank(reranked(rows, None, 6, 3), RowLabels(labels, np.arange(30)), RowLabels(labels, np.arange(30))))
    free = list(rank(reranked(rows, None, 6, 3), *[RowLabels(labels, np.full(30, NO_MARK))] * 2))
    assert [one.ranks.size + 1 for one in some] == [one.ranks.size for one in free]

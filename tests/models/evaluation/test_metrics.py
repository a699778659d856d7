"""Retrieval metrics against loops over every pair."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.metrics import leave_one_out_recall_at_1, open_set, recall_at_1, retrieval_metrics
from models.evaluation.ranking import NO_MARK, RowLabels, inner_products, rank
from tests.models.training import retrieval_reference as reference


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
    queries, query_labels = rows_and_labels(seed, 30, 3)
    gallery, known = rows_and_labels(seed + 100, 12, 3)
    right = [known[nearest(query, gallery)] == label for query, label in zip(queries, query_labels, strict=True)]
    assert recall_at_1(queries, query_labels, gallery, known) == pytest.approx(np.mean(right))
    assert 0 < np.mean(right) < 1


@pytest.mark.parametrize("seed", range(5))
def test_leave_one_out_queries_all_but_the_lonely(seed: int) -> None:
    rows, labels = rows_and_labels(seed, 25, 12)
    query_labels = [i for i in range(25) if (labels == labels[i]).sum() > 1]
    assert 0 < len(query_labels) < 25
    right = [labels[nearest(rows[i], rows, but=i)] == labels[i] for i in query_labels]
    assert leave_one_out_recall_at_1(rows, labels) == pytest.approx(np.mean(right))


def test_leave_one_out_never_finds_the_row_itself() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    assert leave_one_out_recall_at_1(rows, np.array([0, 1, 0, 1])) == 0.0
    assert leave_one_out_recall_at_1(rows, np.array([0, 0, 1, 1])) == 1.0


def test_where_every_label_is_alone_there_is_no_metric() -> None:
    assert math.isnan(leave_one_out_recall_at_1(np.eye(3, dtype=np.float32), np.arange(3)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("coarse", [True, False])
def test_metrics_are_those_of_loops_with_ties_and_masks(seed: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    sample = (lambda n: rng.integers(-1, 2, (n, 3))) if coarse else (lambda n: rng.normal(size=(n, 3)))
    queries, gallery = sample(25).astype(np.float32), sample(18).astype(np.float32)
    query_labels = RowLabels(rng.integers(0, 7, 25), rng.integers(-1, 3, 25))
    searched = RowLabels(rng.integers(0, 6, 18), rng.integers(-1, 3, 18))
    similarity = queries @ gallery.T
    ordered = [
        reference.order(
            similarity[q],
            [bool(label == query_labels.labels[q]) for label in searched.labels],
            [bool(query_labels.marks[q] < 0 or mark != query_labels.marks[q]) for mark in searched.marks],
        )
        for q in range(25)
    ]
    metrics = retrieval_metrics(rank(inner_products(queries, gallery), query_labels, searched), (1, 3, 30))
    assert metrics == pytest.approx(reference.metrics(ordered, (1, 3, 30)))
    assert 0 < metrics["retrieval_mAP"] < 1
    assert list(metrics) == [
        "recall@1", "recall@3", "recall@30", "retrieval_mAP", "mINP", "precision@1", "precision@3", "precision@30",
    ]  # fmt: skip


def test_a_network_that_separates_nothing_scores_nothing() -> None:
    labels = np.array([0, 0, 1, 1])
    each = RowLabels(labels, np.arange(4))
    metrics = retrieval_metrics(
        rank(inner_products(np.ones((4, 2), np.float32), np.ones((4, 2), np.float32)), each, each)
    )
    assert metrics["recall@1"] == 0


def test_without_a_query_that_can_be_answered_there_are_no_metrics() -> None:
    rows = np.eye(2, dtype=np.float32)
    metrics = retrieval_metrics(rank(inner_products(rows, rows), *[RowLabels(np.arange(2), np.arange(2))] * 2))
    assert all(math.isnan(value) for value in metrics.values())


@pytest.mark.parametrize("seed", range(4))
def test_open_sets_search_each_query_with_and_without_its_own_label(seed: int) -> None:
    queries, query_labels = rows_and_labels(seed, 40, 5)
    gallery, stored = rows_and_labels(seed + 50, 30, 4)  # queries of the label 4 are unknowns anyway
    known, rightly, unknowns = 0, 0, 0
    for query, label in zip(queries, query_labels, strict=True):
        own, others = gallery[stored == label], gallery[stored != label]
        unknowns += max(query @ row for row in others) >= 0.7
        if len(own):
            known += 1
            best = gallery[nearest(query, gallery)]
            rightly += query @ best >= 0.7 and stored[nearest(query, gallery)] == label
    marks = [np.full(len(labels), NO_MARK) for labels in (query_labels, stored)]
    found = open_set(
        rank(inner_products(queries, gallery), RowLabels(query_labels, marks[0]), RowLabels(stored, marks[1])), 0.7
    )
    assert found.known == pytest.approx(rightly / known)
    assert found.unknowns == pytest.approx(unknowns / 40)
    assert 0 < found.known < 1
    assert 0 < found.unknowns < 1

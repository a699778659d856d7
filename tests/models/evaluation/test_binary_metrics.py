"""Binary retrieval metrics against counting by hand, with each query's codes sorted one by one."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.binary_metrics import binary_metrics, leave_one_out_binary_metrics

Codes = NDArray[np.uint8]
Labels = NDArray[np.int64]


def slow(queries: Codes, query_labels: Labels, gallery: Codes, gallery_labels: Labels, *, itself: bool) -> list[float]:
    """recall@1, recall@3 and retrieval_mAP."""
    first, third, precisions = [], [], []
    for number, query in enumerate(queries):
        distances = []
        for place, code in enumerate(gallery):
            if itself and place == number:
                continue
            bits = sum((int(a) ^ int(b)).bit_count() for a, b in zip(query, code, strict=True))
            distances.append((bits, bool(gallery_labels[place] == query_labels[number])))
        right = [is_right for _, is_right in sorted(distances)]  # False, the wrong ones, before True
        if not any(right):
            continue
        ranks = [rank for rank, is_right in enumerate(right, 1) if is_right]
        first.append(ranks[0] <= 1)
        third.append(ranks[0] <= 3)
        precisions.append(sum(count / rank for count, rank in enumerate(ranks, 1)) / len(ranks))
    return [float(np.mean(values)) for values in (first, third, precisions)]


def codes(seed: int, count: int, width: int) -> tuple[Codes, Labels]:
    dice = np.random.default_rng(seed)
    return dice.integers(0, 256, (count, width), np.uint8), dice.integers(0, 6, count)


@pytest.mark.parametrize("width", [1, 4])  # eight bits make many ties
def test_queries_against_a_gallery(width: int) -> None:
    (queries, query_labels), (gallery, searched) = codes(1, 30, width), codes(2, 50, width)
    query_labels[:2] = 99  # nothing can be right
    metrics = binary_metrics(queries, query_labels, gallery, searched, (1, 3))
    expected = slow(queries, query_labels, gallery, searched, itself=False)
    found = [metrics[name] for name in ("recall@1", "recall@3", "retrieval_mAP")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_each_queries_all_others() -> None:
    rows, labels = codes(3, 40, 2)
    metrics = leave_one_out_binary_metrics(rows, labels, (1, 3))
    expected = slow(rows, labels, rows, labels, itself=True)
    found = [metrics[name] for name in ("recall@1", "recall@3", "retrieval_mAP")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_codes_that_separate_nothing_score_nothing() -> None:
    rows, labels = np.zeros((10, 2), np.uint8), np.arange(10) % 2
    assert leave_one_out_binary_metrics(rows, labels)["recall@1"] == 0


def test_no_right_answer_at_all_is_nan() -> None:
    rows = np.arange(4, dtype=np.uint8)[:, None]
    assert math.isnan(leave_one_out_binary_metrics(rows, np.arange(4))["retrieval_mAP"])

"""Label scores against a slow and obvious reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.galleries.label_scores import HALFWAY, LabelScores

Rows = NDArray[np.float32]


def unit(seed: int, count: int, dim: int = 6) -> Rows:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def slow(labels: list[str], rows: Rows, query: Rows, left_out: set[int]) -> dict[str, float]:
    """The nearest picture's similarity and the mean's, by how many pictures there are."""
    scores = {}
    for label in set(labels):
        own = np.stack(
            [row for at, row in enumerate(rows) if labels[at] == label and at not in left_out] or [query * 0]
        )
        count = sum(1 for at, one in enumerate(labels) if one == label and at not in left_out)
        if not count:
            continue
        mean = own.mean(axis=0)
        weight = (count - 1) / (count - 1 + HALFWAY)
        scores[label] = (1 - weight) * float((own @ query).max()) + weight * float(mean @ query / np.linalg.norm(mean))
    return scores


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 30),
    kinds=st.integers(1, 6),
    way=st.sampled_from(["", "own", "label"]),
)
def test_scores_are_the_obvious_ones(seed: int, count: int, kinds: int, way: str) -> None:
    rows = unit(seed, count)
    labels = [str(number) for number in np.random.default_rng(seed).integers(0, kinds, count)]
    own = seed % count if way else None
    query = unit(seed + 1, 1)[0] if own is None else rows[own]
    similarities = rows @ query
    left_out = set() if own is None else {own}
    if way == "label" and own is not None:
        left_out = {at for at, label in enumerate(labels) if label == labels[own]}
    found = LabelScores(labels, rows).score(query, np.arange(count), similarities, own, without_label=way == "label")
    expected = slow(labels, rows, query, left_out)
    assert {one.label for one in found} == set(expected)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert one.score == pytest.approx(expected[one.label], abs=1e-4)
        assert labels[one.place] == one.label
        assert one.place not in left_out
        assert one.pictures == labels.count(one.label)  # of the gallery as it is


def test_without_embeddings_the_nearest_decides() -> None:
    rows = unit(3, 9)
    labels = list("aaabbbccc")
    similarities = rows @ rows[4]
    found = LabelScores(labels, None).score(rows[4], np.arange(9), similarities)
    assert found[0].label == "b"
    for one in found:
        assert one.score == pytest.approx(max(similarities[at] for at in range(9) if labels[at] == one.label))


def test_no_items_have_no_labels() -> None:
    empty = LabelScores([], np.zeros((0, 4), np.float32))
    assert len(empty) == 0
    assert empty.score(np.ones(4, np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)) == []

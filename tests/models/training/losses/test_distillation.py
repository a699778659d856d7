"""Losses of distillation, written out one by one."""

import numpy as np
import paddle
import pytest

from models.training.losses.distillation import (
    cosine_distance_loss,
    distance_loss,
    dml_loss,
    relation_logits,
    similarity_loss,
)
from tests.models.training.losses.slow import unit


def softmax(row: np.ndarray) -> np.ndarray:
    probabilities = np.exp(row - row.max())
    return probabilities / probabilities.sum()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return sum(float(a) * np.log(float(a) / float(b)) for a, b in zip(p, q, strict=True))


def test_dml_is_the_mean_of_both_divergences() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(0, 2, (5, 7)).astype(np.float32), rng.normal(0, 2, (5, 7)).astype(np.float32)
    each = []
    for a, b in zip(mine, theirs, strict=True):
        p, q = softmax(a), softmax(b)
        each.append((divergence(p, q) + divergence(q, p)) / 2)
    loss = float(dml_loss(paddle.to_tensor(mine), paddle.to_tensor(theirs)))
    assert np.isclose(loss, np.mean(each), rtol=1e-5)
    assert np.isclose(loss, float(dml_loss(paddle.to_tensor(theirs), paddle.to_tensor(mine))), rtol=1e-6)
    assert abs(float(dml_loss(paddle.to_tensor(mine), paddle.to_tensor(mine + 3)))) < 1e-5  # a shift says nothing


def test_dml_moves_both_and_spares_what_is_detached() -> None:
    mine, theirs = (paddle.to_tensor(np.eye(3, 4, k, dtype=np.float32), stop_gradient=False) for k in (0, 1))
    dml_loss(mine, theirs).backward()
    assert float(paddle.abs(mine.grad).sum()) > 0
    assert float(paddle.abs(theirs.grad).sum()) > 0
    mine.clear_grad()
    theirs.clear_grad()
    dml_loss(mine, theirs.detach()).backward()
    assert theirs.grad is None or not float(paddle.abs(theirs.grad).sum())


def test_relations_are_cosines_to_the_others() -> None:
    features = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    probabilities = paddle.nn.functional.softmax(relation_logits(paddle.to_tensor(features), 0.2), axis=1).numpy()
    for i in range(4):
        others = [j for j in range(4) if j != i]
        cosines = [
            features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j]) for j in others
        ]
        np.testing.assert_allclose(probabilities[i, others], softmax(np.array(cosines) / 0.2), rtol=1e-4)
        assert probabilities[i, i] < 1e-20


def test_relations_compare_networks_of_any_length() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(6, 8)).astype(np.float32)
    turned = np.linalg.qr(rng.normal(size=(20, 8)))[0].T.astype(np.float32)  # 8 orthonormal rows of 20
    same = features @ turned * 3.0
    loss = dml_loss(relation_logits(paddle.to_tensor(features), 0.1), relation_logits(paddle.to_tensor(same), 0.1))
    assert abs(float(loss)) < 1e-4


def test_distance_is_the_mean_square() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)
    assert np.isclose(float(distance_loss(paddle.to_tensor(a), paddle.to_tensor(b))), ((a - b) ** 2).sum() / 6)


def test_relations_are_compared_between_different_pictures_with_vectors() -> None:
    rng = np.random.default_rng(4)
    rows, vectors, known = unit(rng, 5, 6), unit(rng, 5, 3), np.array([1, 1, 0, 1, 0], np.float32)
    pairs = [(i, j) for i in (0, 1, 3) for j in (0, 1, 3) if i != j]
    expected = np.mean([(float(rows[i] @ rows[j]) - float(vectors[i] @ vectors[j])) ** 2 for i, j in pairs])
    assert float(similarity_loss(*map(paddle.to_tensor, (rows, vectors, known)))) == pytest.approx(expected, rel=1e-5)
    nobody = paddle.zeros([5])
    assert float(similarity_loss(paddle.to_tensor(rows), paddle.to_tensor(vectors), nobody)) == 0.0


def test_cosine_distance_counts_only_rows_with_a_target() -> None:
    rng = np.random.default_rng(1)
    rows, targets = 3.0 * unit(rng, 5, 6), unit(rng, 5, 6)
    known = np.array([1, 0, 1, 0, 1], np.float32)
    expected = np.mean([1 - (rows[i] / 3.0) @ targets[i] for i in (0, 2, 4)])
    x = paddle.to_tensor(rows, stop_gradient=False)
    loss = cosine_distance_loss(x, paddle.to_tensor(targets), paddle.to_tensor(known))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    moved = np.abs(x.grad.numpy()).sum(axis=1) > 0
    assert moved.tolist() == [True, False, True, False, True]


def test_cosine_distance_without_any_target_is_nothing() -> None:
    rows = unit(np.random.default_rng(2), 3, 4)
    assert float(cosine_distance_loss(*map(paddle.to_tensor, (rows, rows, np.zeros(3, np.float32))))) == 0.0

"""What the bundled embedder's trainer sums."""

import math

import numpy as np
import paddle
import pytest

from models.training import losses
from models.training.losses.embedder import cos_margin_loss, cosine_distance_loss, relation_loss
from models.training.losses.triplets import triplet_angular_margin_loss
from tests.models.training.losses.slow import unit


def test_cos_margin_loss_is_cross_entropy_with_a_margin() -> None:
    rng = np.random.default_rng(0)
    rows, proxies, labels = unit(rng, 7, 5), rng.normal(size=(4, 5)).astype(np.float32), rng.integers(0, 4, 7)
    total = 0.0
    for row, label in zip(rows, labels, strict=True):
        logits = []
        for number, proxy in enumerate(proxies):
            cosine = sum(a * b for a, b in zip(row, proxy, strict=True)) / math.sqrt(sum(b * b for b in proxy))
            logits.append(9.0 * (cosine - (0.3 if number == label else 0.0)))
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    value = cos_margin_loss(paddle.to_tensor(rows), paddle.to_tensor(proxies), paddle.to_tensor(labels), 0.3, 9.0)
    assert float(value) == pytest.approx(total / 7, rel=1e-5)


def test_smoothing_spreads_a_fraction_of_each_label_over_all_classes() -> None:
    rng = np.random.default_rng(3)
    rows, proxies, labels = unit(rng, 6, 5), unit(rng, 4, 5), rng.integers(0, 4, 6)
    expected = []
    for row, label in zip(rows, labels, strict=True):
        logits = [
            7.0 * (float(row @ proxy) - (0.2 if number == label else 0.0)) for number, proxy in enumerate(proxies)
        ]
        surprise = [math.log(sum(math.exp(other) for other in logits)) - logit for logit in logits]
        expected.append(0.9 * surprise[label] + 0.1 * sum(surprise) / 4)
    value = cos_margin_loss(*map(paddle.to_tensor, (rows, proxies, labels)), 0.2, 7.0, 0.1)
    assert float(value) == pytest.approx(np.mean(expected), rel=1e-5)


def test_relations_are_compared_between_different_pictures_with_vectors() -> None:
    rng = np.random.default_rng(4)
    rows, vectors, known = unit(rng, 5, 6), unit(rng, 5, 3), np.array([1, 1, 0, 1, 0], np.float32)
    pairs = [(i, j) for i in (0, 1, 3) for j in (0, 1, 3) if i != j]
    expected = np.mean([(float(rows[i] @ rows[j]) - float(vectors[i] @ vectors[j])) ** 2 for i, j in pairs])
    assert float(relation_loss(*map(paddle.to_tensor, (rows, vectors, known)))) == pytest.approx(expected, rel=1e-5)
    nobody = paddle.zeros([5])
    assert float(relation_loss(paddle.to_tensor(rows), paddle.to_tensor(vectors), nobody)) == 0.0


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


def test_the_package_gives_them_as_the_one_file_did() -> None:
    assert losses.__all__ == [
        "cos_margin_loss",
        "cosine_distance_loss",
        "relation_loss",
        "triplet_angular_margin_loss",
    ]
    assert losses.cos_margin_loss is cos_margin_loss
    assert losses.triplet_angular_margin_loss is triplet_angular_margin_loss

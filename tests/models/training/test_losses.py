"""The losses equal their formulas, written out in loops."""

import math

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from models.training.losses import cos_margin_loss, cosine_distance_loss, triplet_angular_margin_loss


def unit(rng: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_cos_margin_loss_is_cross_entropy_with_a_handicap() -> None:
    rng = np.random.default_rng(0)
    rows, proxies, labels = unit(rng, 7, 5), rng.normal(size=(4, 5)).astype(np.float32), rng.integers(0, 4, 7)
    total = 0.0
    for row, label in zip(rows, labels, strict=True):
        logits = []
        for number, proxy in enumerate(proxies):
            cosine = sum(a * b for a, b in zip(row, proxy, strict=True)) / math.sqrt(sum(b * b for b in proxy))
            logits.append(9.0 * (cosine - (0.3 if number == label else 0.0)))
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    told = cos_margin_loss(paddle.to_tensor(rows), paddle.to_tensor(proxies), paddle.to_tensor(labels), 0.3, 9.0)
    assert float(told) == pytest.approx(total / 7, rel=1e-5)


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


@pytest.mark.parametrize("seed", range(4))
def test_triplets_are_the_hardest_of_the_batch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, labels = unit(rng, 8, 3), np.repeat(np.arange(4), 2)
    ranking = too_far = too_near = 0.0
    for anchor in range(8):
        cosines = [float(rows[anchor] @ rows[other]) for other in range(8)]
        positive = min(cosines[other] for other in range(8) if labels[other] == labels[anchor])
        negative = max(cosines[other] for other in range(8) if labels[other] != labels[anchor])
        ranking += max(0.0, 0.5 - (positive - negative)) / 8
        too_far += max(0.0, 0.8 - positive) / 8
        too_near += max(0.0, negative - 0.4) / 8
    told = triplet_angular_margin_loss(paddle.to_tensor(rows), paddle.to_tensor(labels))
    assert float(told) == pytest.approx(ranking + 0.1 * (too_far + too_near), rel=1e-5)


def test_triplets_that_are_well_apart_cost_nothing() -> None:
    rows = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    assert float(triplet_angular_margin_loss(paddle.to_tensor(rows), paddle.to_tensor(np.repeat(np.arange(3), 2)))) == 0

"""Batch-hard triplets, by distance and by angle."""

import math

import numpy as np
import paddle
import pytest

from models.training.losses.triplets import triplet_angular_margin_loss, triplet_loss_v2
from tests.models.training.losses.slow import assert_gradient, dot, loss_of, unit

LABELS = np.repeat(np.arange(4), 2)


@pytest.mark.parametrize("seed", range(4))
def test_the_hardest_by_distance(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(8, 3)).astype(np.float32)
    total = 0.0
    for anchor in range(8):
        distances = [math.dist(rows[anchor], rows[other]) for other in range(8)]
        farthest = max(distances[other] for other in range(8) if LABELS[other] == LABELS[anchor])
        nearest = min(distances[other] for other in range(8) if LABELS[other] != LABELS[anchor])
        total += max(0.0, farthest - nearest + 0.7) / 8
    assert loss_of(lambda x, y: triplet_loss_v2(x, y, 0.7), rows, LABELS) == pytest.approx(total, rel=1e-4)
    labels = paddle.to_tensor(LABELS)
    assert_gradient(lambda x: triplet_loss_v2(x, labels, 0.7), rows)


def test_equal_pictures_of_a_class_have_a_finite_gradient() -> None:
    rows = paddle.to_tensor(np.repeat(np.eye(2, dtype=np.float32), 2, axis=0), stop_gradient=False)
    triplet_loss_v2(rows, paddle.to_tensor(np.array([0, 1, 0, 1])), 3.0).backward()
    assert np.isfinite(rows.grad.numpy()).all()


def angular(rows: np.ndarray, offset: bool) -> float:
    """PP-ShiTuV2's loss, one anchor after the other; with `offset`, as PaddleClas computes its absolute part."""
    ranking = too_far = too_near = 0.0
    for anchor in range(8):
        cosines = [dot(rows[anchor], rows[other]) for other in range(8)]
        positive = min(cosines[other] for other in range(8) if LABELS[other] == LABELS[anchor])
        negative = max(cosines[other] for other in range(8) if LABELS[other] != LABELS[anchor])
        ranking += max(0.0, 0.5 - (positive - negative)) / 8
        too_far += max(0.0, 0.8 - positive) / 8
        too_near += (negative - 0.4 if negative > 0.4 else float(offset)) / 8
    return ranking + 0.1 * (too_far + too_near)


@pytest.mark.parametrize("seed", range(4))
def test_the_hardest_by_angle(seed: int) -> None:
    rows = unit(np.random.default_rng(seed), 8, 3)
    assert loss_of(triplet_angular_margin_loss, rows, LABELS) == pytest.approx(angular(rows, False), rel=1e-4)
    labels = paddle.to_tensor(LABELS)
    assert_gradient(lambda x: triplet_angular_margin_loss(x, labels), rows)


def test_paddleclas_constant_moves_the_logged_loss_and_no_weight() -> None:
    rows = unit(np.random.default_rng(1), 8, 8)  # some hardest negatives beyond their bound, some not
    plain, offset = angular(rows, False), angular(rows, True)
    assert plain + 0.01 < offset < plain + 0.1
    labels = paddle.to_tensor(LABELS)
    gradients = []
    for with_offset, expected in ((False, plain), (True, offset)):
        x = paddle.to_tensor(rows, stop_gradient=False)
        loss = triplet_angular_margin_loss(x, labels, paddleclas_offset=with_offset)
        assert float(loss) == pytest.approx(expected, rel=1e-4)
        loss.backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_array_equal(*gradients)


def test_triplets_that_are_well_apart_cost_nothing() -> None:
    rows, labels = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0), np.repeat(np.arange(3), 2)
    assert loss_of(triplet_angular_margin_loss, rows, labels) == 0
    assert loss_of(triplet_loss_v2, rows, labels) == 0

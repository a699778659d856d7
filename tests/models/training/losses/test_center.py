"""Center loss and its running centres."""

import numpy as np
import paddle
import pytest

from models.training.losses.center import CenterLoss
from models.training.recipes.metric import Center
from tests.models.training.losses.slow import assert_gradient


def test_embeddings_are_pulled_to_centres_that_follow_them() -> None:
    rng = np.random.default_rng(0)
    loss = CenterLoss(Center(1.0, 0.5), 3, 5)
    centers = np.zeros((5, 3))
    for _ in range(3):
        rows, labels = rng.normal(size=(6, 3)).astype(np.float32), rng.integers(0, 4, 6)
        expected = sum(((row - centers[label]) ** 2).sum() for row, label in zip(rows, labels, strict=True)) / 6
        assert float(loss(paddle.to_tensor(rows), paddle.to_tensor(labels))) == pytest.approx(expected, rel=1e-5)
        moved = centers.copy()
        for label in range(5):
            members = [row for row, other in zip(rows, labels, strict=True) if other == label]
            moved[label] -= 0.5 * sum(centers[label] - row for row in members) / (1 + len(members))
        centers = moved
        np.testing.assert_allclose(loss.centers.numpy(), centers, rtol=1e-5, atol=1e-6)
    assert not centers[4].any()


def test_only_training_moves_centres_and_no_optimiser_does() -> None:
    rows, labels = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), paddle.to_tensor([0, 1, 1, 0])
    loss = CenterLoss(Center(1.0), 3, 2)
    loss(paddle.to_tensor(rows), labels)
    loss.eval()
    before = loss.centers.numpy().copy()
    assert_gradient(lambda x: loss(x, labels), rows)
    np.testing.assert_array_equal(loss.centers.numpy(), before)
    assert before.any()
    assert loss.parameters() == []
    assert "centers" in loss.state_dict()

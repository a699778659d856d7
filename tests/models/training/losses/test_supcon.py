"""Supervised contrastive loss."""

import math

import numpy as np
import paddle
import pytest

from models.training.losses.supcon import supcon_loss
from tests.models.training.losses.slow import assert_gradient, dot, loss_of, unit


def test_each_positive_is_separated_from_all_others() -> None:
    rows, labels = unit(np.random.default_rng(0), 9, 4), np.array([0, 0, 0, 1, 1, 2, 2, 3, 2])
    total, anchors = 0.0, 0
    for anchor in range(9):
        others = [other for other in range(9) if other != anchor]
        positives = [other for other in others if labels[other] == labels[anchor]]
        if not positives:
            continue
        anchors += 1
        log_sum = math.log(sum(math.exp(dot(rows[anchor], rows[other]) / 0.2) for other in others))
        total -= sum(dot(rows[anchor], rows[other]) / 0.2 - log_sum for other in positives) / len(positives)
    assert anchors == 8
    assert loss_of(lambda x, y: supcon_loss(x, y, 0.2), rows, labels) == pytest.approx(total / anchors, rel=1e-4)
    answer = paddle.to_tensor(labels)
    assert_gradient(lambda x: supcon_loss(x, answer, 0.2), rows)


def test_without_any_positive_it_is_nothing() -> None:
    assert loss_of(supcon_loss, unit(np.random.default_rng(0), 3, 4), np.arange(3)) == 0

"""Pairwise CosFace."""

import math

import numpy as np
import paddle
import pytest

from models.training.losses.cosface import pairwise_cosface_loss
from tests.models.training.losses.slow import assert_gradient, dot, loss_of, unit

LABELS = np.array([0, 0, 1, 1, 2, 2, 2])


def test_all_positives_against_all_negatives() -> None:
    rows = unit(np.random.default_rng(0), 7, 4)
    total = 0.0
    for anchor in range(7):
        pull = push = 0.0
        for other in range(7):
            similarity = dot(rows[anchor], rows[other])
            if LABELS[other] != LABELS[anchor]:
                push += math.exp(4.0 * (similarity + 0.3))
            elif other != anchor:
                pull += math.exp(-4.0 * similarity)
        total += math.log1p(pull * push) / 7
    loss = lambda x, y: pairwise_cosface_loss(x, y, 0.3, 4.0)  # noqa: E731  # a formula with its constants
    assert loss_of(loss, rows, LABELS) == pytest.approx(total, rel=1e-4)
    labels = paddle.to_tensor(LABELS)
    assert_gradient(lambda x: loss(x, labels), rows)


def test_classes_well_apart_cost_nothing_and_a_picture_alone_in_its_class_is_finite() -> None:
    rows = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    assert loss_of(pairwise_cosface_loss, rows, np.repeat(np.arange(3), 2)) == pytest.approx(0, abs=1e-6)
    assert loss_of(pairwise_cosface_loss, rows, np.array([0, 0, 1, 1, 2, 3])) < 64

"""Label-smoothed cross-entropy."""

import math

import numpy as np
import paddle
import pytest

from models.training.losses.cross_entropy import cross_entropy
from tests.models.training.losses.slow import assert_gradient, loss_of


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_labels_share_a_part_among_all_classes(smoothing: float) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (6, 5)).astype(np.float32), rng.integers(0, 5, 6)
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        log_sum = math.log(sum(math.exp(logit) for logit in row))
        for number, logit in enumerate(row):
            wanted = smoothing / 5 + (1 - smoothing) * (number == label)
            total -= wanted * (logit - log_sum)
    assert loss_of(lambda x, y: cross_entropy(x, y, smoothing), logits, labels) == pytest.approx(total / 6, rel=1e-5)
    answer = paddle.to_tensor(labels)
    assert_gradient(lambda x: cross_entropy(x, answer, smoothing), logits)

"""The DeepHash losses against their formulas, pair by pair."""

import math
from collections.abc import Callable

import numpy as np
import paddle
import pytest

from models.training.losses.hashing import dch_loss, dshsd_loss, hamming_proxy, lcdsh_loss
from tests.models.training.losses.slow import Array, assert_gradient, dot

Parts = dict[str, paddle.Tensor]


def batch() -> tuple[Array, Array, Array]:
    dice = np.random.default_rng(5)
    codes = np.tanh(dice.normal(size=(7, 8))).astype(np.float32)
    return codes, dice.normal(size=(7, 3)).astype(np.float32), np.array([0, 1, 2, 0, 1, 1, 0])


def values_of(parts: Parts) -> dict[str, float]:
    return {name: float(part) for name, part in parts.items()}


def summed(loss: Callable[[paddle.Tensor], Parts]) -> Callable[[paddle.Tensor], paddle.Tensor]:
    return lambda x: sum(loss(x).values(), paddle.zeros([]))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_dshsd() -> None:
    codes, logits, labels = batch()
    cross = pairs = 0.0
    for i, label in enumerate(labels):
        powers = [math.exp(value) for value in logits[i]]
        cross -= math.log(powers[label] / sum(powers)) / 7
        for j, other in enumerate(labels):
            d2 = sum((float(a) - float(b)) ** 2 for a, b in zip(codes[i], codes[j], strict=True))
            pairs += (0.5 * d2 if label == other else 0.5 * max(0, 2 * 8 - d2)) / 49
    x, given, classes = (paddle.to_tensor(array) for array in (codes, logits, labels))
    assert values_of(dshsd_loss(x, given, classes, alpha=0.2)) == pytest.approx(
        {"class": cross, "pair": 0.2 * pairs}, rel=1e-4
    )
    assert_gradient(summed(lambda x: dshsd_loss(x, given, classes)), codes)


@pytest.mark.parametrize("size", [1.0, 12.0])  # so large that the inner products are clipped
def test_lcdsh(size: float) -> None:
    codes, _, labels = batch()
    codes = codes * np.float32(size)
    pairs = sign_loss = 0.0
    for i, label in enumerate(labels):
        for j, other in enumerate(labels):
            s = 1 if label == other else -1
            p = max(-50.0, min(50.0, dot(codes[i], codes[j]) / 2))
            pairs += math.log(1 + math.exp(-s * p)) / 49
            sign_loss += (sigmoid(p) - sigmoid(dot(np.sign(codes[i]), np.sign(codes[j])) / 2)) ** 2 / 49
    found = lcdsh_loss(paddle.to_tensor(codes), paddle.to_tensor(labels))
    assert values_of(found) == pytest.approx({"pair": pairs, "sign": 3 * sign_loss}, rel=1e-4)
    if size == 1:
        assert_gradient(summed(lambda x: lcdsh_loss(x, paddle.to_tensor(labels))), codes)


def proxy(a: Array, b: Array) -> float:
    cosine = dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))
    return (1 - min(cosine, 0.99)) * len(a) / 2


def test_dch() -> None:
    codes, _, labels = batch()
    same = sum(int(a == b) for a in labels for b in labels)
    pairs = 0.0
    for i, label in enumerate(labels):
        for j, other in enumerate(labels):
            d = proxy(codes[i], codes[j])
            weight = 49 / same if label == other else 49 / (49 - same)
            part = math.log(1 + 20 / d)
            pairs += weight * (part + (math.log(d / 20) if label == other else 0)) / 49
    kept = sum(math.log(1 + proxy(np.abs(row), np.ones(8, np.float32)) / 20) for row in codes) / 7
    found = dch_loss(paddle.to_tensor(codes), paddle.to_tensor(labels))
    assert values_of(found) == pytest.approx({"pair": pairs, "quantisation": 0.1 * kept}, rel=1e-4)
    assert_gradient(summed(lambda x: dch_loss(x, paddle.to_tensor(labels))), codes)


def test_dch_of_one_class_has_no_weights() -> None:
    codes, _, _ = batch()
    slow = np.mean([math.log(1 + proxy(a, b) / 20) for a in codes for b in codes])
    found = dch_loss(paddle.to_tensor(codes), paddle.zeros([7], "int64"))
    assert float(found["pair"]) == pytest.approx(slow, rel=1e-4)


def test_the_proxy_is_the_distance_of_codes() -> None:
    dice = np.random.default_rng(1)
    rows, columns = (np.sign(dice.normal(size=(5, 16))).astype(np.float32) for _ in range(2))
    counted = (rows[:, None] != columns[None]).sum(axis=2)
    found = hamming_proxy(paddle.to_tensor(rows), paddle.to_tensor(columns)).numpy()
    np.testing.assert_allclose(found, np.maximum(counted, 0.01 * 8), atol=1e-4)

"""Heads give the logits of their papers' formulas, written out one by one."""

import math
from collections.abc import Callable

import numpy as np
import paddle
import pytest

from models.training.losses.heads import FC, ArcMargin, CircleMargin, CosineHead, CosMargin, ProxyMargin
from tests.models.training.losses.slow import assert_gradient

ROWS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 5, 12)
Formula = Callable[[float, bool], float]  # cosine, whether it is the own class -> logit / scale


def arc(cosine: float, own: bool) -> float:
    angle = math.acos(cosine)
    if not own:
        return cosine
    return math.cos(angle + 0.4) if angle < math.pi - 0.4 else cosine - 0.4 * math.sin(0.4)


def easy_arc(cosine: float, own: bool) -> float:
    return math.cos(math.acos(cosine) + 0.4) if own and cosine > 0 else cosine


def cos(cosine: float, own: bool) -> float:
    return cosine - 0.4 if own else cosine


def circle(cosine: float, own: bool) -> float:
    if own:
        return max(0.0, 1 + 0.4 - cosine) * (cosine - (1 - 0.4))
    return max(0.0, cosine + 0.4) * (cosine - 0.4)


HEADS: list[tuple[Callable[[], CosineHead], Formula]] = [
    (lambda: ArcMargin(4, 5, 0.4, 8.0), arc),
    (lambda: ArcMargin(4, 5, 0.4, 8.0, easy_margin=True), easy_arc),
    (lambda: CosMargin(4, 5, 0.4, 8.0), cos),
    (lambda: CircleMargin(4, 5, 0.4, 8.0), circle),
]


@pytest.mark.parametrize(("make", "formula"), HEADS)
def test_margins_are_the_papers(make: Callable[[], CosineHead], formula: Formula) -> None:
    paddle.seed(0)
    head = make()
    weight = head.weight.numpy().astype(np.float64)
    rows = ROWS.copy()
    rows[0] = -weight[:, LABELS[0]]  # straight away from its class, where ArcMargin is linear
    rows[1] = weight[:, LABELS[1]]
    got = head(paddle.to_tensor(rows), paddle.to_tensor(LABELS)).numpy()
    without = head(paddle.to_tensor(rows)).numpy()
    for row, label, answers, plain in zip(rows, LABELS, got, without, strict=True):
        for number in range(5):
            direction = weight[:, number]
            cosine = float(row @ direction) / (np.linalg.norm(row) * np.linalg.norm(direction))
            cosine = min(1.0, max(-1.0, cosine))
            assert answers[number] == pytest.approx(8.0 * formula(cosine, number == label), abs=6e-3)
            assert plain[number] == pytest.approx(8.0 * cosine, abs=1e-4)


@pytest.mark.parametrize("make", [HEADS[0][0], HEADS[2][0]])
def test_gradients_are_the_slopes(make: Callable[[], CosineHead]) -> None:
    paddle.seed(0)
    head, labels = make(), paddle.to_tensor(LABELS)
    mixed = paddle.to_tensor(np.random.default_rng(2).normal(size=(12, 5)).astype(np.float32))
    assert_gradient(lambda x: (head(x, labels) * mixed).mean(), ROWS)


def test_circles_weights_are_constants_to_the_gradient() -> None:
    paddle.seed(0)
    head = CircleMargin(4, 5, 0.4, 8.0)
    x = paddle.to_tensor(ROWS, stop_gradient=False)
    cosines = head.cosines(x)
    seen = cosines.numpy()
    own = np.eye(5, dtype=np.float32)[LABELS]
    slopes = 8.0 * (own * np.maximum(1.4 - seen, 0) + (1 - own) * np.maximum(seen + 0.4, 0))
    (cosines * paddle.to_tensor(slopes)).sum().backward()
    expected = x.grad.numpy().copy()
    x.clear_grad()
    head(x, paddle.to_tensor(LABELS)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_an_arc_at_the_classes_own_direction_has_a_finite_gradient() -> None:
    head = ArcMargin(4, 5, 0.4, 8.0)
    x = paddle.to_tensor(head.weight.numpy().T.copy(), stop_gradient=False)
    head(x, paddle.arange(5)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_fc_is_a_product_begun_near_zero() -> None:
    head = FC(64, 200)
    weight = head.fc.weight.numpy()
    assert weight.shape == (64, 200)
    assert weight.std() == pytest.approx(0.001, rel=0.1)
    assert [name for name, _ in head.named_parameters()] == ["fc.weight"]
    rows = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    for labels in (None, paddle.to_tensor([0, 1, 2])):
        np.testing.assert_allclose(head(paddle.to_tensor(rows), labels).numpy(), rows @ weight, atol=1e-5)


def test_proxies_are_cos_margin_over_unit_embeddings_a_row_a_class() -> None:
    proxies, columns = ProxyMargin(4, 5, 0.4, 8.0), CosMargin(4, 5, 0.4, 8.0)
    assert proxies.weight.shape == [5, 4]
    proxies.weight.set_value(columns.weight.T)
    rows, labels = paddle.nn.functional.normalize(paddle.to_tensor(ROWS), axis=1), paddle.to_tensor(LABELS)
    np.testing.assert_allclose(proxies(rows, labels).numpy(), columns(rows, labels).numpy(), atol=1e-5)

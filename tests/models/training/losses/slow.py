"""What the slow references share: unit rows, plain dot products, and gradients by finite differences."""

from collections.abc import Callable

import numpy as np
import paddle
from numpy.typing import NDArray

Array = NDArray[np.float32]


def unit(rng: np.random.Generator, count: int, size: int) -> Array:
    """(count, size) random rows of length 1."""
    rows = rng.normal(size=(count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def dot(a: Array, b: Array) -> float:
    """The sum of products, one by one."""
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def loss_of(loss: Callable[..., paddle.Tensor], *arrays: NDArray[np.generic]) -> float:
    """The loss of plain arrays, as a number."""
    return float(loss(*map(paddle.to_tensor, arrays)))


def assert_gradient(loss: Callable[[paddle.Tensor], paddle.Tensor], x: Array, step: float = 1e-3) -> None:
    """The gradient's slope along random directions is that of finite differences."""
    tensor = paddle.to_tensor(x, stop_gradient=False)
    loss(tensor).backward()
    gradient = tensor.grad.numpy()
    assert np.abs(gradient).sum() > 0
    for seed in range(4):
        direction = np.random.default_rng(seed).normal(size=x.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        rise = loss_of(loss, x + step * direction) - loss_of(loss, x - step * direction)
        np.testing.assert_allclose(
            rise / (2 * step), (gradient * direction).sum(), atol=0.02 * float(np.linalg.norm(gradient)) + 1e-3
        )

"""What a projection is held to: its codes' cosines, against every pair by itself."""

import math

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from models.training.networks.hash import cosine_difference


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow(codes: NDArray[np.float64], embeddings: NDArray[np.float64]) -> float:
    """Over all ordered pairs, each with itself too."""
    apart = [
        (cosine(codes[i], codes[j]) - cosine(embeddings[i], embeddings[j])) ** 2
        for i in range(len(codes))
        for j in range(len(codes))
    ]
    return sum(apart) / len(apart)


@pytest.mark.parametrize(("count", "bits", "dim"), [(1, 8, 4), (5, 8, 12), (9, 16, 3)])
def test_the_difference_of_cosines_and_its_slope(count: int, bits: int, dim: int) -> None:
    dice = np.random.default_rng(bits)
    codes, known = np.tanh(dice.normal(size=(count, bits))), dice.normal(scale=3, size=(count, dim))
    tensor = paddle.to_tensor(codes, stop_gradient=False)
    loss = cosine_difference(tensor, paddle.to_tensor(known))
    assert float(loss) == pytest.approx(slow(codes, known), rel=1e-6, abs=1e-9)
    loss.backward()
    step = 1e-5
    for place in ((0, 0), (count - 1, bits - 1)):
        up, down = codes.copy(), codes.copy()
        up[place] += step
        down[place] -= step
        slope = (slow(up, known) - slow(down, known)) / (2 * step)
        assert float(tensor.grad[place]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_what_is_alike_in_other_lengths_and_dimensions_differs_by_nothing() -> None:
    codes = paddle.to_tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    turned = paddle.to_tensor([[0.0, 1.0, 0.0], [-3.0, 0.0, 0.0], [-1.0, 1.0, 0.0]])
    assert float(cosine_difference(codes, turned)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_difference(codes, -codes[[1, 2, 0]])) > 0.01

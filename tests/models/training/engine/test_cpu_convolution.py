"""PyTorch's convolutions under Paddle's layers give Paddle's numbers, forwards and backwards."""

import importlib.util
from collections.abc import Callable

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

from models.training.engine.cpu_convolution import accelerate

Arrays = dict[str, NDArray[np.float32]]
with_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch, an optional aid of training, is not installed"
)


def convolution(kind: str, kernel: int, stride: int, padding: int, bias: bool) -> nn.Conv2D:
    inputs, outputs, groups = {"depthwise": (6, 6, 6), "dense": (5, 7, 1), "grouped": (4, 6, 2)}[kind]
    paddle.seed(kernel + 10 * stride)
    layer = nn.Conv2D(inputs, outputs, kernel, stride, padding, groups=groups, bias_attr=None if bias else False)
    if bias:
        layer.bias.set_value(np.linspace(-1, 1, outputs, dtype=np.float32))
    return layer


def run(layer: nn.Layer, image: NDArray[np.float32]) -> Arrays:
    """The output and all gradients of a sum in which every number has another weight."""
    x = paddle.to_tensor(image, stop_gradient=False)
    y = layer(x)
    weights = np.cos(np.arange(np.prod(y.shape), dtype=np.float32)).reshape(y.shape)
    (y * paddle.to_tensor(weights)).sum().backward()
    report = {"y": y.numpy(), "dx": x.grad.numpy()}
    for name, parameter in layer.named_parameters():
        report[f"d{name}"] = parameter.grad.numpy().copy()
    layer.clear_gradients()
    return report


def check(layer: nn.Conv2D, image: NDArray[np.float32]) -> None:
    expected = run(layer, image)
    assert accelerate(layer, 1)
    got = run(layer, image)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(got[name], array, rtol=0, atol=2e-5 * scale, err_msg=name)


@with_torch
@pytest.mark.parametrize("kind", ["depthwise", "dense", "grouped"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_same_numbers_as_paddle(kind: str, kernel: int, stride: int, size: tuple[int, int], bias: bool) -> None:
    image = np.random.default_rng(kernel).normal(size=(3, {"depthwise": 6, "dense": 5, "grouped": 4}[kind], *size))
    check(convolution(kind, kernel, stride, kernel // 2, bias), image.astype(np.float32))


@with_torch
@pytest.mark.parametrize("kind", ["depthwise", "dense"])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 0), (5, 0), (5, 1), (3, 2), (2, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_numbers_where_the_padding_does_not_keep_the_size(
    kind: str, kernel: int, padding: int, stride: int
) -> None:
    image = np.random.default_rng(padding).normal(size=(2, {"depthwise": 6, "dense": 5}[kind], 9, 8))
    check(convolution(kind, kernel, stride, padding, bias=True), image.astype(np.float32))


@with_torch
def test_a_view_that_is_not_contiguous_is_understood() -> None:
    layer = convolution("depthwise", 3, 1, 1, bias=False)
    image = np.random.default_rng(0).normal(size=(2, 8, 7, 6)).astype(np.float32)  # channels last

    def grad_of(x: paddle.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        y = layer(x.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])
        (y * y).sum().backward()
        return y.numpy(), x.grad.numpy()

    expected = grad_of(paddle.to_tensor(image, stop_gradient=False))
    accelerate(layer, 1)
    got = grad_of(paddle.to_tensor(image, stop_gradient=False))
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@with_torch
@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    layer = convolution("depthwise", 5, 2, 2, bias=True)
    accelerate(layer, 1)
    x = paddle.to_tensor(np.ones((2, 6, 7, 7), np.float32), stop_gradient=False)
    named = {"x": x, "weight": layer.weight, "bias": layer.bias}
    named[frozen].stop_gradient = True
    layer(x).sum().backward()
    for name, tensor in named.items():
        assert (tensor.grad is None) == (name == frozen), name


@with_torch
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2D(4, 4, 3, padding=2, dilation=2),
        lambda: nn.Conv2D(4, 4, 3, padding=[1, 0]),
        lambda: nn.Conv2D(4, 4, 3, padding="SAME"),
        lambda: nn.Conv2D(4, 4, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_unusual_convolutions_are_left_to_paddle(make: Callable[[], nn.Conv2D]) -> None:
    image = np.random.default_rng(3).normal(size=(1, 4, 8, 8)).astype(np.float32)
    check(make(), image)


@with_torch
def test_a_traced_network_holds_paddles_own_convolution() -> None:
    layer = convolution("dense", 3, 1, 1, bias=True)
    image = paddle.to_tensor(np.random.default_rng(4).normal(size=(1, 5, 6, 6)).astype(np.float32))
    expected = layer(image).numpy()
    accelerate(layer, 1)
    traced = paddle.jit.to_static(
        nn.Sequential(layer), input_spec=[paddle.static.InputSpec([1, 5, 6, 6], "float32")], full_graph=True
    )
    with paddle.no_grad():
        np.testing.assert_allclose(traced(image).numpy(), expected, atol=1e-5)
    assert "conv2d" in str(traced.forward.concrete_program.main_program)


def test_without_pytorch_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    layer = convolution("dense", 3, 1, 1, bias=True)
    assert accelerate(layer, 1) is False
    assert "forward" not in vars(layer)

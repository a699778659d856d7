"""Exported weights put back into a network to train: a convolution with its batch norm folded in, made two layers again.

A folded convolution is a weight and a bias. The network to train has a batch norm after it, so the weight is taken as it
is and the norm is set to do nothing but add the bias: its running statistics are measured on some pictures, and scale and
shift undo them. So the answers are the export's, and batch statistics in training are near the running ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.errors import ArtifactError
from models.nets.picodet import PicoDet

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Folded:
    """A convolution as the export has it."""

    weight: Array  # (out, in / groups, k, k)
    bias: Array  # (out,)


def load_exported(network: PicoDet, path: Path, pictures: Array) -> None:
    """Put the weights of an ONNX program that this project exported into a network of the same sizes.

    `pictures` (N, 3, H, W) set the norms. Raises ArtifactError for a file of another network.
    """
    put_back(network, execution_order(network), read_convolutions(path), path.name)
    recompute_norms(network, pictures)


def put_back(network: PicoDet, names: Sequence[str], stored: Sequence[Folded], file: str) -> None:
    """Give the convolutions of these names what is stored, in turn, each with a norm that only adds its bias.

    Raises ArtifactError where they don't fit; `network` is then unchanged.
    """
    layers = dict(network.named_sublayers())
    if len(names) != len(stored):
        raise ArtifactError(f"{file} has {len(stored)} convolutions, the network {len(names)}")
    for name, own in zip(names, stored, strict=True):
        if tuple(layers[name].weight.shape) != own.weight.shape:
            raise ArtifactError(f"{file}: {own.weight.shape} where {name} has {tuple(layers[name].weight.shape)}")
    for name, own in zip(names, stored, strict=True):
        layers[name].weight.set_value(paddle.to_tensor(own.weight))
        norm = norm_of(name, layers)
        if norm is None:
            layers[name].bias.set_value(paddle.to_tensor(own.bias))
        else:
            neutral(norm, own.bias)


def execution_order(network: PicoDet) -> list[str]:
    """The convolutions' names in the order in which they run, which is that of a program traced from the network."""
    order: list[str] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, __, name=name: order.append(name))
        for name, layer in network.named_sublayers()
        if isinstance(layer, nn.Conv2D)
    ]
    network.eval()
    with paddle.no_grad():
        network(paddle.zeros([1, 3, 64, 64]))
    for hook in hooks:
        hook.remove()
    return order


def neutral(norm: nn.BatchNorm2D, bias: Array) -> None:
    """A batch norm that adds `bias` and does nothing else."""
    ones = np.ones_like(bias)
    for tensor, value in (
        (norm.weight, np.sqrt(ones + norm._epsilon)),
        (norm.bias, bias),
        (norm._mean, 0 * ones),
        (norm._variance, ones),
    ):
        tensor.set_value(paddle.to_tensor(value.astype(np.float32)))


def recompute_norms(network: PicoDet, photos: Array) -> None:
    """Give every norm the statistics of what it sees of `photos`, and change its scale and shift so that it answers as before."""
    seen: dict[nn.BatchNorm2D, tuple[Array, Array]] = {}

    def measure(norm: nn.BatchNorm2D, inputs: Sequence[paddle.Tensor]) -> None:
        values = inputs[0].numpy().astype(np.float64)
        seen[norm] = values.mean(axis=(0, 2, 3)), values.var(axis=(0, 2, 3))

    norms = [layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    network.eval()
    with paddle.no_grad():
        network(paddle.to_tensor(photos))
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, variance = seen[norm]
        variance = np.maximum(variance, 1e-3 * max(1e-6, float(variance.mean())))  # a channel that is nearly constant
        old = norm.weight.numpy() / np.sqrt(norm._variance.numpy() + norm._epsilon)
        shift = norm.bias.numpy() + old * (mean - norm._mean.numpy())
        for tensor, value in (
            (norm.weight, old * np.sqrt(variance + norm._epsilon)),
            (norm.bias, shift),
            (norm._mean, mean),
            (norm._variance, variance),
        ):
            tensor.set_value(paddle.to_tensor(np.asarray(value, np.float32)))


def norm_of(name: str, layers: dict[str, nn.Layer]) -> nn.BatchNorm2D | None:
    """The batch norm after a convolution; None where the convolution has its own bias."""
    before, _, last = name.rpartition(".")
    neighbours = {"conv": ("bn", "norm"), "dwconv": ("bn1",), "pwconv": ("bn2",)}.get(last, ())
    found = [layers[f"{before}.{own}"] for own in neighbours if f"{before}.{own}" in layers]
    return found[0] if found and isinstance(found[0], nn.BatchNorm2D) else None


def read_convolutions(path: Path) -> list[Folded]:
    """The convolutions of an ONNX file in its graph's order. Raises ArtifactError where it is no such file."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ArtifactError("reading ONNX weights needs the package onnx, which comes with paddle2onnx") from error
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf raises its own errors
        raise ArtifactError(f"{path.name} is no ONNX file that can be read") from error
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in ("Identity", "Reshape") and node.input[0] in arrays:  # how a bias meets its channels
            arrays[node.output[0]] = arrays[node.input[0]]
    return list(_convolutions(graph, arrays))


def _convolutions(graph: Any, arrays: dict[str, NDArray[Any]]) -> Iterator[Folded]:
    norms = {node.input[0]: node for node in graph.node if node.op_type == "BatchNormalization"}
    added = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "Add" and node.input[1] in arrays}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        weight = np.asarray(arrays[node.input[1]], np.float32)
        own = node.input[2] if len(node.input) > 2 else added.get(node.output[0])
        bias = np.zeros(len(weight), np.float32) if own is None else np.asarray(arrays[own], np.float32).reshape(-1)
        norm = norms.get(node.output[0])
        if norm is not None:
            scale, shift, mean, variance = (np.asarray(arrays[name], np.float64) for name in norm.input[1:5])
            epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
            factor = scale / np.sqrt(variance + epsilon)
            weight = (weight * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
            bias = ((bias - mean) * factor + shift).astype(np.float32)
        yield Folded(weight, bias)

"""Begin with the official PicoDet of COCO: its exported ONNX, batch norms folded in, put back into a trainable PicoDet.

A folded convolution is a weight and a bias. The network to train has a batch norm after it, so the weight is taken as it
is and the norm is set to do nothing but add the bias: its running statistics are measured on some photos, and scale and
shift undo them. So the answers are the export's, and batch statistics in training are near the running ones. The 80
classes become one foreground: the mean of their rows, those of people and furniture left out.
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
from models.nets.picodet import STRIDES, PicoDet
from models.training.pseudo_boxes import NO_BODIES

Array = NDArray[np.float32]
CLASSES = 80
CSP = ("short_conv.conv", "main_conv.conv", "blocks.0.conv1.conv", "blocks.0.conv2.dwconv", "blocks.0.conv2.pwconv")
NECK = (
    *(f"conv_t.convs.{level}.conv" for level in range(3)),
    *(f"top_down_blocks.0.{name}" for name in (*CSP, "final_conv.conv")),
    *(f"top_down_blocks.1.{name}" for name in (*CSP, "final_conv.conv")),
    *("downsamples.0.dwconv", "downsamples.0.pwconv"),
    *(f"bottom_up_blocks.0.{name}" for name in (*CSP, "final_conv.conv")),
    *("downsamples.1.dwconv", "downsamples.1.pwconv"),
    *(f"bottom_up_blocks.1.{name}" for name in (*CSP, "final_conv.conv")),
    *("first_top_conv.dwconv", "first_top_conv.pwconv", "second_top_conv.dwconv", "second_top_conv.pwconv"),
)


@dataclass(frozen=True)
class Folded:
    """A convolution as the export has it."""

    weight: Array  # (out, in / groups, k, k)
    bias: Array  # (out,)


def load_coco_weights(network: PicoDet, path: Path, photos: Array) -> None:
    """Put the export's weights into `network`, a PicoDet-S on ESNet with one class; `photos` (N, 3, H, W) set the norms.

    With 80 classes the network answers like the export itself. Raises ArtifactError for a file of another network.
    """
    stored = read_convolutions(path)
    names = convolution_names(network)
    layers = dict(network.named_sublayers())
    if len(names) != len(stored):
        raise ArtifactError(f"{path.name} has {len(stored)} convolutions, the network {len(names)}")
    for name, folded in zip(names, stored, strict=True):
        own = merged(folded, network.num_classes) if name.startswith("head.head_cls") else folded
        layer = layers[name]
        if tuple(layer.weight.shape) != own.weight.shape:
            raise ArtifactError(f"{path.name}: {own.weight.shape} where {name} has {tuple(layer.weight.shape)}")
        layer.weight.set_value(paddle.to_tensor(own.weight))
        norm = norm_of(name, layers)
        if norm is None:
            layer.bias.set_value(paddle.to_tensor(own.bias))
        else:
            neutral(norm, own.bias)
    settle_norms(network, photos)


def merged(head: Folded, classes: int) -> Folded:
    """The last convolution of a level, its 80 class rows made one."""
    if classes == CLASSES:
        return head
    things = ~np.isin(np.arange(CLASSES), NO_BODIES)
    weight, bias = (
        (part[:CLASSES][things].mean(axis=0, keepdims=True), part[CLASSES:]) for part in (head.weight, head.bias)
    )
    return Folded(np.concatenate(weight), np.concatenate(bias))


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


def settle_norms(network: PicoDet, photos: Array) -> None:
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


def convolution_names(network: PicoDet) -> list[str]:
    """The network's convolutions in the order of the export's graph: gates stand apart, where they are applied."""
    body = [name for name, layer in network.backbone.named_sublayers() if isinstance(layer, nn.Conv2D)]
    names = [f"backbone.{name}" for name in body] + [f"neck.{name}" for name in NECK]
    for level in range(len(STRIDES)):
        depth = len(getattr(network.head.conv_feat, f"cls_conv_dw{level}"))
        for part in range(depth):
            names += [f"head.conv_feat.cls_conv_{kind}{level}.{part}.conv" for kind in ("dw", "pw")]
        names.append(f"head.head_cls{level}")
    return names


def norm_of(name: str, layers: dict[str, nn.Layer]) -> nn.BatchNorm2D | None:
    """The batch norm after a convolution; None where the convolution has a bias of its own."""
    before, _, last = name.rpartition(".")
    beside = {"conv": ("bn", "norm"), "dwconv": ("bn1",), "pwconv": ("bn2",)}.get(last, ())
    found = [layers[f"{before}.{own}"] for own in beside if f"{before}.{own}" in layers]
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
    except Exception as error:  # protobuf raises errors of its own
        raise ArtifactError(f"{path.name} is no ONNX file that can be read") from error
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return list(_convolutions(graph, arrays))


def _convolutions(graph: Any, arrays: dict[str, NDArray[Any]]) -> Iterator[Folded]:
    added = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "Add" and node.input[1] in arrays}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        weight = np.asarray(arrays[node.input[1]], np.float32)
        own = node.input[2] if len(node.input) > 2 else added.get(node.output[0])
        bias = np.zeros(len(weight), np.float32) if own is None else np.asarray(arrays[own], np.float32).reshape(-1)
        yield Folded(weight, bias)

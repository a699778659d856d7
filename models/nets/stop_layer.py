"""Ends a network at one of its layers: what PaddleClas' recipes call the backbone's stop layer."""

import math

import numpy as np
import paddle
from paddle import nn


class StopLayerError(ValueError):
    """The network has no such layer, or what that layer gives are no features."""


def stop_after(network: nn.Layer, name: str, side_px: int = 64) -> int:
    """Cut `network`, in place, behind its direct sublayer `name`; returns how many features (N, F) or (N, F, 1, 1) it gives.

    What follows becomes an identity; parameters keep their names. A grey picture of `side_px` is sent through before and
    after. Raises StopLayerError that lists the names, or tells that the layer gives a map, or that the network can't be cut
    there.
    """
    names = [child for child, _ in network.named_children()]
    if name not in names:
        raise StopLayerError(f"{type(network).__name__} has no layer {name!r}; it has {', '.join(names)}")
    expected = _output_of(network, name, side_px)
    shape = expected.shape[1:] if expected is not None else ()
    if expected is None or len(shape) not in (1, 3) or math.prod(shape) != shape[0]:
        raise StopLayerError(
            f"{name!r} of {type(network).__name__} gives {tuple(shape) or 'nothing'}; features are taken after pooling"
        )
    for later in names[names.index(name) + 1 :]:
        setattr(network, later, nn.Identity())
    got = _output_of(network, "", side_px)
    if (
        got is None
        or got.size != expected.size
        or not np.array_equal(got.flatten().numpy(), expected.flatten().numpy())
    ):
        raise StopLayerError(
            f"{type(network).__name__} can't be cut behind {name!r}: other layers work beside what follows"
        )
    return int(shape[0])


def _output_of(network: nn.Layer, name: str, side_px: int) -> paddle.Tensor | None:
    """What the sublayer `name` (or the network, if empty) gives for one grey picture; None if it is never called whole."""
    outputs: list[paddle.Tensor] = []
    layer = getattr(network, name) if name else network
    hook = layer.register_forward_post_hook(lambda _layer, _inputs, output: outputs.append(output))
    training = network.training
    network.eval()
    try:
        with paddle.no_grad():
            network(paddle.full([1, 3, side_px, side_px], 0.5))
    finally:
        hook.remove()
        if training:
            network.train()
    return outputs[-1] if outputs else None

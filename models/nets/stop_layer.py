"""Ends a network at one of its layers: what PaddleClas' recipes call the backbone's stop layer."""

import math

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn


class StopLayerError(ValueError):
    """The network has no such layer, or what that layer gives are no features."""


def stop_after(network: nn.Layer, name: str, side_px: int = 64) -> int:
    """Cut `network`, in place, after its direct sublayer `name`; returns how many features (N, F) or (N, F, 1, 1) it gives.

    What follows becomes an identity; parameters keep their names. A grey picture of `side_px` is sent through before and
    after. Raises StopLayerError that lists the names, or says that the layer gives a map, or that the network can't be cut
    there.
    """
    kind = type(network).__name__
    names = [child for child, _ in network.named_children()]
    if name not in names:
        raise StopLayerError(f"{kind} has no layer {name!r}; it has {', '.join(names)}")
    outputs = _outputs_of(network, getattr(network, name), side_px)
    if len(outputs) != 1:
        raise StopLayerError(
            f"{name!r} of {kind} works {len(outputs)} times on a picture; features are taken from one call"
        )
    shape = list(outputs[0].shape)
    if len(shape) not in (2, 4) or math.prod(shape) != shape[1]:
        raise StopLayerError(f"{name!r} of {kind} gives a map of {shape}; features are taken after pooling")
    for later in names[names.index(name) + 1 :]:
        setattr(network, later, nn.Identity())
    again = _outputs_of(network, network, side_px)[0]
    if not np.array_equal(again.ravel(), outputs[0].ravel()):
        raise StopLayerError(f"{kind} can't be cut after {name!r}: what follows is more than layers one after another")
    return int(shape[1])


def _outputs_of(network: nn.Layer, layer: nn.Layer, side_px: int) -> list[NDArray[np.float32]]:
    """What `layer` gives, call by call, when the network sees one grey picture in evaluation mode."""
    outputs: list[NDArray[np.float32]] = []
    hook = layer.register_forward_post_hook(lambda _layer, _inputs, output: outputs.append(output.numpy()))
    training = network.training
    network.eval()
    try:
        with paddle.no_grad():
            network(paddle.full([1, 3, side_px, side_px], 0.5))
    finally:
        hook.remove()
        if training:
            network.train()
    return outputs

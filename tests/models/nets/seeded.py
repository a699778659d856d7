"""Networks filled with values sampled from their parameters' names: the same everywhere, and nothing big to store."""

import zlib
from collections.abc import Mapping

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

Array = NDArray[np.float32]

# Where each level's class scores lie, so that a few cells of every level pass the official threshold of 0.025.
HEAD_LOGITS = (-3.1, -6.7, -5.4, -4.5)


def seeded_parameters(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """The values of one parameter, by its structured name.

    Kernels are He-scaled, batch norms near the identity, and a detector's last layer is set so that few cells pass and
    boxes are wide. RandomState, because its streams are promised never to change.
    """
    random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    if name.endswith("distribution_project.project"):
        return np.arange(shape[0], dtype=np.float32)
    if ".head_cls" in name:
        if len(shape) > 1:
            return np.asarray(random.standard_normal(shape) * 3.0 / np.sqrt(shape[1]), np.float32)
        bins = -0.5 * (np.arange(8) - 4.5) ** 2  # distances near 4.5 strides
        logit = HEAD_LOGITS[int(name.partition(".head_cls")[2][0])]
        return np.concatenate([[logit], np.tile(bins, 4)]).astype(np.float32)
    if name.endswith("_variance"):
        return random.uniform(0.6, 1.4, shape).astype(np.float32)
    if name.endswith("_mean"):
        return (random.standard_normal(shape) * 0.1).astype(np.float32)
    if name.endswith("bias"):
        return (random.standard_normal(shape) * 0.2).astype(np.float32)
    if len(shape) == 1:
        return random.uniform(0.8, 1.2, shape).astype(np.float32)
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return np.asarray(random.standard_normal(shape) * np.sqrt(2.0 / fan_in), np.float32)


def seeded_state(network: nn.Layer, seed: int) -> dict[str, Array]:
    return {name: seeded_parameters(name, tuple(value.shape), seed) for name, value in network.state_dict().items()}


def fill(network: nn.Layer, state: Mapping[str, Array]) -> None:
    for name, value in network.state_dict().items():
        value.set_value(paddle.to_tensor(state[name]))


def seeded_images(seed: int, count: int, side: int) -> Array:
    """(count, 3, side, side): random pictures, smooth at three scales, of about unit variance."""
    random = np.random.RandomState(seed)
    images = np.zeros((count, 3, side, side))
    for cell in (1, 8, 32):
        coarse = random.standard_normal((count, 3, side // cell, side // cell))
        images += coarse.repeat(cell, axis=2).repeat(cell, axis=3)
    return np.asarray(images / np.sqrt(3), np.float32)

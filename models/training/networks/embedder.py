"""The recipe's embedder as a network: built, filled with known weights, and run like the served one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.nets.embedding import EmbedderLite, EmbedderV1, EmbedderV2
from models.training.engine.checkpoint import fill
from models.training.engine.inputs import normalize, square_input
from models.training.engine.served import as_served
from models.training.recipes.embedder import LITE_KINDS, EmbedderNetwork


def build_embedder(network: EmbedderNetwork) -> nn.Layer:
    """The network that a recipe's `[network]` table names."""
    if network.kind in LITE_KINDS:
        return EmbedderLite(network.kind, network.embedding_size)
    if network.kind == "v1":
        return EmbedderV1(network.width, network.embedding_size, network.dropout)
    return EmbedderV2(
        network.width,
        network.depths,
        embedding_size=network.embedding_size,
        dropout=network.dropout,
        colours=network.colours,
        whitened=network.whitened,
    )


def load_weights(embedder: nn.Layer, path: Path) -> int:
    """Put the weights of a run's `best.npz` into `embedder`; returns the step they are of. Raises ArtifactError."""
    return int(fill(embedder, path, "embedder").progress["step"])


def embed_with(
    network: nn.Layer, size_px: int = 0, pictures: int = 0, threads: int = 1
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A network as a plain function over RGB pictures, in evaluation mode.

    For many `pictures` of `size_px`, it answers through a program: see `as_served`.
    """
    answer = as_served(network, square_input("x", size_px), pictures, threads)
    return lambda images: answer(normalize(images))[0]

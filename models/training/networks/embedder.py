"""The recipe's embedder as a network: built, filled with known weights, and run like the served one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.nets.embedding import EmbedderLite, EmbedderV1, EmbedderV2
from models.nets.pdparams import ParameterError, put_arrays, read_pdparams
from models.training.engine.checkpoint import fill
from models.training.engine.inputs import normalize, square_input
from models.training.engine.served import as_served
from models.training.errors import TrainingError
from models.training.recipes.embedder import LITE_KINDS, EmbedderNetwork

SHITU_ONLY = ("last_conv.", "stages.3.0.dw_conv_list.2.")  # another width and a bias; the branch that stride 1 adds
OURS = ("colour_fc.", "colours.", "whitening.")  # what an embedder of ours may have besides


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


def start_from(embedder: nn.Layer, path: Path) -> None:
    """Put another run's `best.npz`, an official embedder's `.pdparams`, or an official backbone's, into `embedder`.

    Of `.pdparams`, head and classifier are left out, what is only ours (OURS) stays as it is, and so does for a ShiTu last
    stage what an ImageNet network has otherwise there (SHITU_ONLY): PP-ShiTuV2 starts so. Raises ArtifactError or
    TrainingError for another network's weights.
    """
    if path.suffix != ".pdparams":
        load_weights(embedder, path)
        return
    try:
        theirs = read_pdparams(path)
        whole = any(name.startswith("backbone.") for name in theirs)
        network, bias = (embedder, "") if whole else (embedder.backbone, "last_conv.bias")
        widened = bias in network.state_dict() and bias not in theirs
        put_arrays(network, theirs, path.name, ("head.", "fc.", *OURS, *(SHITU_ONLY if widened else ())))
    except ParameterError as error:
        raise TrainingError(str(error)) from error
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}") from error


def embed_with(
    network: nn.Layer, size_px: int = 0, pictures: int = 0, threads: int = 1
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A network as a plain function over RGB pictures, in evaluation mode.

    For many `pictures` of `size_px`, it answers through a program: see `as_served`.
    """
    answer = as_served(network, square_input("x", size_px), pictures, threads)
    return lambda images: answer(normalize(images))[0]

"""The networks that make binary codes: real-valued, near 1 and -1, a bit where they are above 0."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.folders import load_manifest
from models.artifacts.manifest import EmbeddingOutput
from models.errors import ArtifactError
from models.training.engine.processes import ALONE, Group
from models.training.losses.hashing import dch_loss, dshsd_loss, lcdsh_loss
from models.training.networks.embedder import build_embedder
from models.training.networks.itq import Rotation
from models.training.recipes.hash import HashLoss, HashNetwork


class HashEmbedder(nn.Layer):
    """A ShiTu embedder of as many dimensions as bits, with PaddleClas' neck Tanh: (B, 3, H, W) -> (B, bits)."""

    def __init__(self, network: nn.Layer) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.tanh(self.network(x))


class Projection(nn.Layer):
    """One linear layer on embeddings of length 1, then tanh: (B, D) -> (B, bits)."""

    def __init__(self, dim: int, bits: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, bits)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.tanh(self.fc(F.normalize(x, axis=1)))

    def start_at(self, rotation: Rotation, rows: NDArray[np.float32]) -> None:
        """Take over a rotation, stretched so that over `rows` (N, D) the values before tanh deviate by 1."""
        scale = 1.0 / max(float(rotation(rows).std()), 1e-6)
        self.fc.weight.set_value(rotation.axes * scale)
        self.fc.bias.set_value(-(rotation.mean @ rotation.axes) * scale)


class FrozenProgram(nn.Layer):
    """An exported embedder as a layer of a bigger network that is to be exported: (B, 3, H, W) -> (B, D).

    Raises ArtifactError unless the folder is an embedder with a program of Paddle's own.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.manifest = load_manifest(folder)
        if not isinstance(self.manifest.output, EmbeddingOutput):
            raise ArtifactError(f"{self.manifest.name} is no embedder")
        if not (folder / "inference.json").is_file():
            raise ArtifactError(f"{folder} holds no inference.json, which alone can become part of another program")
        self.dim = self.manifest.output.dim
        self.program = paddle.jit.load(str(folder / "inference"))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.program(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenProgram":
        return self  # nothing in it ever changes, and Paddle cannot copy it


class HashModule(nn.Layer):
    """The training module: codes, and for DSHSD the head FC over them. Inputs are pictures or a base's embeddings."""

    def __init__(
        self, recipe: HashNetwork, loss: HashLoss, network: nn.Layer, classes: int, group: Group = ALONE
    ) -> None:
        super().__init__()
        self.loss, self.group = loss, group
        self.network = network
        self.head = nn.Linear(recipe.bits, classes) if loss.kind == "dshsd" else None

    def losses(self, x: paddle.Tensor, labels: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """The weighted parts of the loss, by name; in a group, of the pictures of all its processes."""
        codes, table = self.group.gather(self.network(x)), self.loss
        labels = self.group.gather(labels)
        if self.head is not None:
            parts = dshsd_loss(codes, self.head(codes), labels, table.alpha)
        elif table.kind == "lcdsh":
            parts = lcdsh_loss(codes, labels, table.lcdsh_weight)
        else:
            parts = dch_loss(codes, labels, table.dch_gamma, table.dch_weight)
        parts = {name: table.weight * part for name, part in parts.items()}
        if table.keep:
            parts["keep"] = table.keep * cosine_difference(codes, self.group.gather(x))
        return parts


def cosine_difference(codes: paddle.Tensor, embeddings: paddle.Tensor) -> paddle.Tensor:
    """How far the codes' cosines are from those of `embeddings`, squared, over all pairs of a batch."""
    rows, known = F.normalize(codes, axis=1), F.normalize(embeddings, axis=1)
    apart = paddle.matmul(rows, rows, transpose_y=True) - paddle.matmul(known, known, transpose_y=True)
    return (apart * apart).mean()


def build_network(network: HashNetwork, dim: int = 0) -> HashEmbedder | Projection:
    """What makes codes of pictures, or of a base's embeddings of `dim` dimensions."""
    if network.kind == "projection":
        return Projection(dim, network.bits)
    return HashEmbedder(build_embedder(replace(network.embedder, embedding_size=network.bits)))

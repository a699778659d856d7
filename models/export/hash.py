"""Exports a network for binary codes: a projection together with its embedder, as one program."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.folders import resolve
from models.export.network import DEFAULT_FORMATS, Origin, export_network, hashes
from models.training.engine.checkpoint import fill
from models.training.engine.inputs import square_input
from models.training.networks.hash import FrozenProgram, Projection, build_network
from models.training.recipes.hash import HashRecipe
from models.training.recipes.reading import as_table


class Projected(nn.Layer):
    """The frozen embedder and the projection after it: (B, 3, H, W) -> (B, bits)."""

    def __init__(self, base: FrozenProgram, projection: Projection) -> None:
        super().__init__()
        self.base = base
        self.projection = projection

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.projection(self.base(x))


def export_hash(
    recipe: HashRecipe,
    checkpoint: Path,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
) -> Path:
    """Write the network of `checkpoint` (a run's `best.npz`) as an artifact. Raises ArtifactError if a program differs."""
    bits = recipe.network.bits
    about = replace(origin, name=recipe.name, recipe=as_table(recipe))
    if recipe.network.kind == "embedder":
        network = build_network(recipe.network)
        about = replace(
            about,
            network=f"ShiTu {recipe.network.embedder.kind}, tanh, {bits} bits",
            steps=int(fill(network, checkpoint, "hash").progress["step"]),
        )
        return export_network(
            network, hashes(bits), square_input("x", recipe.deploy_px), folder, about, formats, pictures
        )
    base = FrozenProgram(resolve(recipe.network.base))
    projection = Projection(base.dim, bits)
    steps = int(fill(projection, checkpoint, "hash").progress["step"])
    manifest = base.manifest
    about = replace(
        about,
        steps=steps,
        network=f"{manifest.network}, projection to {bits} bits",
        recipe={**about.recipe, "base": {"name": manifest.name, "digest": manifest.digest}},
    )
    return export_network(Projected(base, projection), hashes(bits), manifest.input, folder, about, formats, pictures)

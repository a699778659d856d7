"""Export by recipe: the best weights of a run, fused, as an artifact folder that both engines run."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.export.network import DEFAULT_FORMATS, Origin, detects, embeds, export_network
from models.nets.names import STRIDES
from models.nets.picodet import ServedPicoDet
from models.training.engine.checkpoint import fill
from models.training.engine.inputs import square_input
from models.training.networks.detector import build_detector
from models.training.networks.embedder import build_embedder, load_weights
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.embedder import LITE_KINDS, EmbedderNetwork, EmbedderRecipe
from models.training.recipes.reading import as_table

BACKBONE_NAMES = {"lcnet": "LCNet", "esnet": "ESNet"}
__all__ = ["Origin", "export_detector", "export_embedder", "export_network"]


def export_embedder(
    recipe: EmbedderRecipe,
    checkpoint: Path,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
) -> Path:
    """Write the embedder of `checkpoint` (a run's `best.npz`) as an artifact. Raises ArtifactError if a program differs."""
    network = build_embedder(recipe.network)
    steps = load_weights(network, checkpoint)
    about = replace(
        origin,
        name=recipe.name,
        network=describe_network(recipe.network),
        recipe=as_table(recipe),
        steps=steps,
    )
    given = square_input("x", recipe.deploy_px, "area" if recipe.network.kind in LITE_KINDS else "linear")
    return export_network(network, embeds(recipe.network.embedding_size), given, folder, about, formats, pictures)


def describe_network(network: EmbedderNetwork) -> str:
    """The network of a recipe's `[network]` table, for people."""
    if network.kind in LITE_KINDS:
        return f"EfficientNet-Lite{network.kind[-1]} + FC {network.embedding_size}"
    kind = "PPLCNetV2_base_ShiTu" if network.kind == "v2" else "PPLCNet_ShiTu"
    colours = " and a colour histogram" if network.colours else ""
    return f"{kind} x{network.width:g}{colours}{', whitened' if network.whitened else ''}"


def export_detector(
    recipe: DetectorRecipe,
    checkpoint: Path,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    data: Path | None = None,
) -> Path:
    """The same for a main-body detector; its programs end before decoding and suppression, which are numpy's.

    The manifest names the weights and the teachers below `data` that the recipe names, each with its SHA-256.
    """
    network = build_detector(recipe)
    steps = int(fill(network, checkpoint, "detector").progress["step"])
    about = replace(
        origin,
        name=recipe.name,
        network=f"PicoDet {BACKBONE_NAMES[recipe.network.body]} x{recipe.network.scale:g}, CSP-PAN {recipe.network.neck_channels}",
        recipe=as_table(recipe) | borrowed(recipe, data),
        steps=steps,
    )
    kind = detects(STRIDES, recipe.network.reg_max)
    given = square_input("image", recipe.deploy_px, "cubic")
    return export_network(ServedPicoDet(network), kind, given, folder, about, formats, pictures, batched=False)


def borrowed(recipe: DetectorRecipe, data: Path | None) -> dict[str, Any]:
    """{"borrowed": file -> SHA-256} of the weights that a detector began with and of the files that gave it pseudo-boxes."""
    names = {recipe.network.backbone, *(source.teacher for source in recipe.data)}
    names |= {
        f"{source.root}/{source.file}".lstrip("/") for source in recipe.data if source.kind in ("coco", "collages")
    }
    files = {name: data / name for name in sorted(names - {""})} if data is not None else {}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}
    return {"borrowed": digests} if digests else {}

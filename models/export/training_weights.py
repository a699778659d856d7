"""A run's best weights as `.pdparams`, by PaddleClas' and PaddleDetection's names: what their training and export start from.

Heads over a training set's classes, losses and optimisers are no part of them, as of the weights that are published.
"""

from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from models.errors import ArtifactError
from models.nets.named import build
from models.training.engine.checkpoint import Checkpoint, fill
from models.training.networks.detector import build_detector
from models.training.networks.embedder import build_embedder, load_weights
from models.training.networks.metric import MetricEmbedder
from models.training.recipes.classifier import ClassifierRecipe
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.metric import MetricRecipe

DROPOUT = 0.2  # of their LCNets, which scale by 1 - p when they serve


def embedder_weights(recipe: EmbedderRecipe, checkpoint: Path, file: Path) -> Path:
    """`file` with the weights of `checkpoint` (a run's `best.npz`). Raises ArtifactError for networks that they have not."""
    table = recipe.network
    odd = [name for name in ("colours", "whitened") if getattr(table, name)]
    if table.kind not in ("v1", "v2") or odd:
        raise _unknown_there(
            recipe.name, f"a network of the kind {table.kind!r}{' with ' + ' and '.join(odd) if odd else ''}"
        )
    network = build_embedder(table)
    load_weights(network, checkpoint)
    _as_with_dropout(network.neck, table.dropout)
    return write_pdparams(network, file)


def metric_weights(recipe: MetricRecipe, checkpoint: Path, file: Path) -> Path:
    """The same of a metric-learning run, of a distillation the student's."""
    network = MetricEmbedder(recipe)
    load_weights(network, checkpoint)
    if recipe.backbone.kind != "resnet50_vd":  # which has no dropout
        _as_with_dropout(network.neck, recipe.backbone.dropout)
    return write_pdparams(network, file)


def detector_weights(recipe: DetectorRecipe, checkpoint: Path, file: Path) -> Path:
    """The same of a detector."""
    if recipe.network.body != "lcnet":
        raise _unknown_there(
            recipe.name, f"a PicoDet on {recipe.network.body!r}, under the names that PaddleDetection gives it"
        )
    network = build_detector(recipe)
    fill(network, checkpoint, "detector")
    return write_pdparams(network, file)


def classifier_weights(recipe: ClassifierRecipe, checkpoint: Path, file: Path) -> Path:
    """The same of a classifier, with its last layer."""
    network = build(recipe.network, len(Checkpoint.load(checkpoint).progress.get("names", ())))
    fill(network, checkpoint, "classifier")
    return write_pdparams(network, file)


def write_pdparams(network: nn.Layer, file: Path) -> Path:
    """What `paddle.save` makes of the network's parameters, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    paddle.save(network.state_dict(), str(part))
    part.replace(file)
    return file


def _as_with_dropout(neck: nn.Layer, dropout: float) -> None:
    """Change a neck so that features under their dropout become what features under `dropout` did: both scale them by 1 - p."""
    factor = (1 - DROPOUT) / (1 - dropout)
    if factor == 1:
        return
    if hasattr(neck, "fc"):
        neck.fc.weight.set_value(neck.fc.weight / factor)
    elif hasattr(neck, "feat_bn"):
        norm = neck.feat_bn
        variance = (norm._variance.numpy().astype(np.float64) + norm._epsilon) * factor**2 - norm._epsilon
        norm._mean.set_value(norm._mean * factor)
        norm._variance.set_value(np.maximum(variance, 0.0).astype(np.float32))
    # Without a neck the embedding is longer or shorter as a whole, which normalising takes out.


def _unknown_there(name: str, what: str) -> ArtifactError:
    return ArtifactError(f"{name} can't be written as .pdparams: PaddleClas and PaddleDetection have not {what}.")

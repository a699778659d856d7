"""What an embedder must beat: the same evaluation by colours, by the network untrained, by its pretrained features, by its teacher."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from models.errors import ArtifactError
from models.evaluation.eval_sets import Embed, EvalSet, evaluate, evaluate_colours, evaluate_teacher, load_eval_sets
from models.evaluation.evaluate import Metrics, rounded, silent
from models.evaluation.retrieval import Progress
from models.nets.pretrained import pretrained_file
from models.training.engine.cpu_convolution import accelerate
from models.training.engine.inputs import normalize
from models.training.networks.embedder import build_embedder, embed_with
from models.training.recipes.embedder import EmbedderRecipe
from models.training.tasks.whitened_start import load_backbone
from models.training.teachers.features import PooledFeatures


def embedder_baselines(recipe: EmbedderRecipe, data: Path | None, progress: Progress = silent) -> dict[str, Metrics]:
    """The eval sets' metrics of colour histograms, the same network untrained, its pretrained features, and the recipe's teacher.

    Pretrained features are left out where the package with their weights is not installed (`missing_weights`).
    """
    splits = load_eval_sets(recipe, data, recipe.deploy_px)
    has_teacher = data is not None and bool(recipe.teacher.model)
    has_weights = bool(recipe.network.pretrained) and not missing_weights(recipe, data)
    takers = 2 + has_teacher + has_weights
    progress("baselines", 0, takers)
    results = {"colour histograms": rounded(evaluate_colours(splits))}
    progress("baselines", 1, takers)
    results["untrained network"] = rounded(evaluate(_untrained(recipe, splits), splits))
    progress("baselines", 2, takers)
    if has_weights:
        results["pretrained features"] = rounded(evaluate(_pretrained(recipe, data, splits), splits))
        progress("baselines", 3, takers)
    if data is not None and has_teacher:
        teacher = PooledFeatures(data / recipe.teacher.model, recipe.teacher, threads=2)
        results["teacher's features"] = rounded(evaluate_teacher(teacher, splits))
        progress("baselines", takers, takers)
    return results


def _untrained(recipe: EmbedderRecipe, splits: Sequence[EvalSet]) -> Embed:
    """The recipe's network as it begins. Batch norms get the eval sets' statistics, else its answers are all alike."""
    paddle.seed(0)
    network = build_embedder(recipe.network)
    accelerate(network, threads=2)
    if any(isinstance(layer, nn.BatchNorm1D | nn.BatchNorm2D) for layer in network.sublayers()):
        images = np.concatenate([split.images[:64] for split in splits])
        network.train()
        with paddle.no_grad():
            for _ in range(15):
                network(paddle.to_tensor(normalize(images)))
    return embed_with(network, recipe.deploy_px, sum(len(split.images) for split in splits), threads=2)


def missing_weights(recipe: EmbedderRecipe, data: Path | None) -> str:
    """What is said where the recipe's pretrained weights can't be had; empty where they can, or there are none."""
    try:
        if recipe.network.pretrained:
            pretrained_file(recipe.network.pretrained, data)
    except ArtifactError as error:
        return error.detail
    return ""


def _pretrained(recipe: EmbedderRecipe, data: Path | None, splits: Sequence[EvalSet]) -> Embed:
    """The backbone as it was published: what the neck and training add is what this lacks."""
    embedder = build_embedder(recipe.network)
    load_backbone(embedder, recipe, data)
    accelerate(embedder, threads=2)
    pictures = sum(len(split.images) for split in splits)
    return embed_with(embedder.backbone, recipe.deploy_px, pictures, threads=2)

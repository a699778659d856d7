"""A metric-learning run as an artifact, like every embedder: backbone and neck, without head and losses; and its eval sets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.embedder import Embedder
from models.export.network import DEFAULT_FORMATS, Origin, embeds, export_network
from models.training.engine.inputs import square_input
from models.training.networks.embedder import load_weights
from models.training.networks.metric import MetricEmbedder
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.reading import as_table
from models.training.tasks.distilled import distilled_embedder
from models.training.tasks.metric import prepare_eval_sets


def export_metric(
    recipe: MetricRecipe,
    checkpoint: Path,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    *,
    data: Path | None = None,
) -> Path:
    """Write the embedder of `checkpoint` (a run's `best.npz`) as an artifact; of a distillation, the student.

    Its teacher may be below `data`. Raises ArtifactError if a program differs.
    """
    embedder = MetricEmbedder(recipe)
    steps = load_weights(embedder, checkpoint)
    names = {"lcnet": "PPLCNet", "lcnetv2": "PPLCNetV2", "resnet50_vd": "ResNet50_vd"}
    width = "" if recipe.backbone.kind == "resnet50_vd" else f" x{recipe.backbone.width:g}"
    network = f"{names[recipe.backbone.kind]}{width}, {recipe.neck.kind} neck"
    made_by = as_table(recipe) | distilled_embedder(checkpoint.parent, data)
    about = replace(origin, name=recipe.name, network=network, recipe=made_by, steps=steps)
    return export_network(
        embedder, embeds(embedder.size), square_input("x", recipe.deploy_px), folder, about, formats, pictures
    )


def evaluate_metric(
    artifact: Path, recipe: MetricRecipe, data: Path | None, precision: str = "auto"
) -> dict[str, float]:
    """recall@1 of the recipe's eval sets, by the exported program. Eval sets on photos need `data`."""
    embedder = Embedder(artifact, threads=2, precision=precision)
    scores = prepare_eval_sets(recipe, data).evaluate(lambda images: embedder(list(images)), recipe.deploy_px)
    return {name: round(value, 4) for name, value in scores.items()}

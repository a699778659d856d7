"""A classifier as an artifact: it ends in its softmax, and pictures are prepared as PaddleClas prepares them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.classifier import Classifier
from models.evaluation.classification import score
from models.export.network import DEFAULT_FORMATS, Origin, classifies, export_network
from models.nets.named import build
from models.training.data.class_data import gather
from models.training.engine.checkpoint import Checkpoint
from models.training.recipes.classifier import ClassifierRecipe
from models.training.recipes.reading import as_table
from models.training.tasks.classifier import load_classifier
from models.training.tasks.classifier_evaluation import classifier_input
from models.training.tasks.distilled import distilled_classifier

Images = Sequence[NDArray[np.uint8]]


class WithSoftmax(nn.Layer):
    """A classifier as it is served: (N, 3, H, W) -> (N, C) probabilities."""

    def __init__(self, network: nn.Layer) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return nn.functional.softmax(self.network(x), axis=-1)


def export_classifier_network(
    network: nn.Layer,
    labels: Sequence[str],
    size_px: int,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Images | None = None,
) -> Path:
    """Write a network that gives logits as a classifier artifact; `labels` name all its classes, or none.

    Raises ArtifactError if a program differs from the network.
    """
    given = classifier_input(size_px)
    return export_network(WithSoftmax(network), classifies(labels), given, folder, origin, formats, pictures)


def export_classifier(
    recipe: ClassifierRecipe,
    checkpoint: Path,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Images | None = None,
    *,
    data: Path | None = None,
) -> Path:
    """Write the classifier of `checkpoint` (a run's `best.npz`) as an artifact. Its teacher may be below `data`.

    Raises ArtifactError if a program differs.
    """
    names = tuple(Checkpoint.load(checkpoint).progress.get("names", ()))
    network = build(recipe.network, len(names))
    steps = int(load_classifier(network, checkpoint).progress["step"])
    made_by = as_table(recipe) | distilled_classifier(recipe, data)
    about = replace(origin, name=recipe.name, network=recipe.network, recipe=made_by, steps=steps)
    labels = names if any(names) else ()
    return export_classifier_network(network, labels, recipe.deploy_px, folder, about, formats, pictures)


def evaluate_classifier(
    artifact: Path, recipe: ClassifierRecipe, data: Path | None, engine: str = "auto", precision: str = "auto"
) -> dict[str, float]:
    """Top-1 and top-5 of the recipe's eval sets, by the exported program. Eval sets on photos need `data`, else there are none."""
    if data is None and recipe.data[0].kind != "rendered":
        return {}
    classifier = Classifier(artifact, engine, threads=2, precision=precision)
    metrics = {}
    for name, pictures in gather(recipe, data, lambda *_: None).eval.items():
        for measure, value in score(classifier.probabilities, pictures).items():
            metrics[f"{name} {measure}"] = round(value, 4)
    return metrics

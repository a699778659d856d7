"""Starts an embedder from pretrained features: the neck from whitening within classes, each class's proxy from its mean.

ImageNet features spread most along what differs between two photos of one thing: background, light, how near it is. A linear
map that evens out those directions, fitted in closed form to labelled pictures, retrieves far better than the features do,
and training continues from there instead of unlearning a random neck. (Hariharan, Malik and Ramanan, "Discriminative
Decorrelation for Clustering and Classification", ECCV 2012; Mika et al., "Fisher discriminant analysis with kernels", 1999.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError
from models.nets.efficientnet_lite import fold_norms, load_pretrained, paddle_names
from models.nets.embedding import EmbedderLite
from models.nets.pdparams import ParameterError
from models.nets.pretrained import read_pretrained
from models.training.data.pool import Pool, fit, on_grey
from models.training.engine.inputs import normalize, square_input
from models.training.engine.served import as_served
from models.training.errors import TrainingError
from models.training.recipes.embedder import EmbedderRecipe
from models.vectors import unit_rows

Array = NDArray[np.float64]
BATCH = 32


@dataclass(frozen=True)
class LinearMap:
    """x @ weight + bias. (N, F) -> (N, D)."""

    weight: Array  # (F, D)
    bias: Array  # (D,)

    def __call__(self, features: NDArray[np.floating]) -> Array:
        return np.asarray(features.astype(np.float64) @ self.weight + self.bias)


def fit_whitening(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    sources: NDArray[np.int64],
    weights: Mapping[int, float],
    ridge: float,
    dims: int,
) -> LinearMap:
    """The map of features (N, F) to their `dims` strongest directions after the scatter within classes is evened out.

    `weights` says of each source how much its within-class covariance counts; classes with one picture have none. `ridge`
    times the mean eigenvalue is added to each eigenvalue. The principal directions are those of all N, whitened. Raises
    TrainingError where no source has a class of two pictures.
    """
    rows = features.astype(np.float64)
    within = np.zeros((rows.shape[1], rows.shape[1]))
    for source, weight in weights.items():
        mine = np.flatnonzero(sources == source)
        _, classes, counts = np.unique(labels[mine], return_inverse=True, return_counts=True)
        sums = np.zeros((len(counts), rows.shape[1]))
        np.add.at(sums, classes, rows[mine])
        differences = (rows[mine] - (sums / counts[:, None])[classes])[counts[classes] > 1]
        if len(differences):
            within += weight * (differences.T @ differences) / len(differences)
    if not within.any():
        raise TrainingError("whitening needs a source with classes of two pictures or more")
    values, vectors = np.linalg.eigh(within)
    values = np.maximum(values, 0.0) + ridge * values.mean()
    even = vectors / np.sqrt(values) @ vectors.T
    mean = rows.mean(axis=0)
    whitened = (rows - mean) @ even
    _, directions = np.linalg.eigh(whitened.T @ whitened)
    weight_map = even @ directions[:, ::-1][:, :dims]
    return LinearMap(weight_map, -mean @ weight_map)


def load_backbone(embedder: EmbedderLite, recipe: EmbedderRecipe, data: Path | None) -> None:
    """Put the recipe's pretrained weights into the backbone. Raises ArtifactError."""
    try:
        load_pretrained(embedder.backbone, read_pretrained(recipe.network.pretrained, data))
    except ParameterError as error:
        raise ArtifactError(f"{recipe.network.pretrained}: {error}") from error


def start_whitened(
    embedder: EmbedderLite, recipe: EmbedderRecipe, pool: Pool, threads: int, progress: Callable[[str, int, int], None]
) -> NDArray[np.float32]:
    """Fit the neck of `embedder`, in place, to the pool's views; returns a unit proxy for each class (C, D)."""
    features = pooled_features(embedder, pool, recipe.deploy_px, threads, progress)
    numbers = {source.name: number for number, source in enumerate(recipe.data)}
    weights = {numbers[part.name]: part.weight for part in recipe.whitening.sources}
    size = recipe.network.embedding_size
    fitted = fit_whitening(features, pool.labels, pool.sources, weights, recipe.whitening.ridge, size)
    embedder.neck.fc.weight.set_value(fitted.weight.astype(np.float32))
    embedder.neck.fc.bias.set_value(fitted.bias.astype(np.float32))
    rows = unit_rows(np.asarray(fitted(features), np.float32))
    proxies = np.zeros((pool.classes, size), np.float32)
    np.add.at(proxies, pool.labels, rows)
    return unit_rows(proxies)


def pooled_features(
    embedder: EmbedderLite, pool: Pool, size_px: int, threads: int, progress: Callable[[str, int, int], None]
) -> NDArray[np.float32]:
    """The backbone's features of all views of the pool, as they are (N, F); transparent ones on grey."""
    answer = as_served(embedder.backbone, square_input("x", size_px), len(pool.views), threads)
    rows = []
    for start in range(0, len(pool.views), BATCH):
        views = [fit(on_grey(view), size_px) for view in pool.views[start : start + BATCH]]
        rows.append(answer(normalize(np.stack(views)))[0])
        progress("pretrained features", min(start + BATCH, len(pool.views)), len(pool.views))
    return np.concatenate(rows)


def rate_ratios(embedder: EmbedderLite, recipe: EmbedderRecipe, data: Path | None) -> dict[str, float]:
    """The learning rate of each backbone parameter relative to the recipe's, by the parameter's own name.

    Folding a norm into a kernel changes the kernel's scale, and AdamW's steps are of one size whatever the scale: so each
    kernel's rate is what its scale was changed by. Biases stay what the norm's offsets were.
    """
    raw = paddle_names(read_pretrained(recipe.network.pretrained, data))
    folded = fold_norms(raw)
    ratios = {}
    for name, parameter in embedder.backbone.named_parameters():
        ratio = 1.0 if name.endswith(".bias") else float(_rms(folded[name]) / max(_rms(raw[name]), 1e-12))
        ratios[parameter.name] = recipe.optimizer.backbone_rate * ratio
    return ratios


def _rms(array: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))

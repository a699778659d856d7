"""Batches for binary codes: augmented pictures for a whole network, known rows for a projection of a base's embeddings."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.data.class_sampling import pk_sampler
from models.training.data.embedder_batches import batches
from models.training.engine.inputs import normalize
from models.training.engine.processes import ALONE, Group
from models.training.recipes.hash import HashRecipe
from models.training.tasks.hash_features import Features

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]  # what the network takes, and labels


def augmented_batches(recipe: HashRecipe, pool: Path, first: int, group: Group = ALONE) -> Generator[Batch, None, None]:
    """Augmented views, made by a process of their own; in a group, this process's part of each batch."""
    with closing(batches(recipe.pictures, pool, first, group.rank, group.size)) as source:
        for batch in source:
            yield normalize(batch.images), batch.labels


def feature_batches(
    recipe: HashRecipe, features: Features, first: int, group: Group = ALONE
) -> Generator[Batch, None, None]:
    """Some rows of each of some classes; decided by (seed, step) alone, so a resumed run sees the same ones.

    Raises TrainingError where a stage's batch needs more classes than can be sampled.
    """
    draw = pk_sampler(features.labels, features.sources, [source.sampling_weight for source in recipe.data])
    pictures, views = recipe.pictures, recipe.views_per_class
    for stage in recipe.stages:
        draw.require(stage.batch, views)
    for step in range(first, recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        places = draw(rng, pictures.stage_at(step).batch // views, views)
        mine = places[group.slice_of(len(places))]
        yield features.rows[mine], features.labels[mine]

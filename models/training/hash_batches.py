"""Batches for binary codes: changed pictures for a whole network, rows already known for a projection of a base's embeddings."""

from collections.abc import Generator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.batches import batches
from models.training.errors import TrainingError
from models.training.hash_features import Features
from models.training.hash_recipe import HashRecipe
from models.training.statistics import normalize

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]  # what the network takes, and labels


def changed_pictures(recipe: HashRecipe, pool: Path, first: int) -> Generator[Batch, None, None]:
    """Changed views, made by a process of their own."""
    with closing(batches(recipe.pictures, pool, first, 0, 1)) as source:
        for batch in source:
            yield normalize(batch.images), batch.labels


def known_rows(recipe: HashRecipe, features: Features, first: int) -> Generator[Batch, None, None]:
    """Some rows of each of some classes; decided by (seed, step) alone, so a resumed run sees the same ones."""
    order = np.argsort(features.labels, kind="stable")
    starts = np.searchsorted(features.labels[order], np.arange(features.labels.max() + 2))
    members = [order[a:b] for a, b in pairwise(starts)]
    source = np.array([features.sources[some[0]] for some in members])
    shares = np.array([table.share for table in recipe.data])
    weight = shares[source] / np.bincount(source, minlength=len(shares))[source]
    views = recipe.views_per_class
    for step in range(first, recipe.steps):
        wanted = recipe.pictures.stage_at(step).batch // views
        if not 0 < wanted <= len(members):
            raise TrainingError(f"a batch of {wanted} classes a step was asked for; there are {len(members)}")
        rng = np.random.default_rng([recipe.seed, step])
        chosen = rng.choice(len(members), wanted, replace=False, p=weight / weight.sum())
        places = np.concatenate([rng.choice(some, views, len(some) < views) for some in (members[c] for c in chosen)])
        yield features.rows[places], features.labels[places]

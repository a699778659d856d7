"""Batches of augmented views, made by a process of their own and decided by (seed, rank, step) alone: a resumed run sees the same ones."""

import multiprocessing
from collections.abc import Generator
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.augment import augment
from models.training.pool import Pool, load_pool
from models.training.recipe import EmbedderRecipe

AHEAD = 3  # batches kept ready


@dataclass(frozen=True)
class Batch:
    """B views with what is known of each."""

    images: NDArray[np.uint8]  # (B, size, size, 3) RGB
    labels: NDArray[np.int64]  # (B,)
    targets: NDArray[np.float32]  # (B, D)
    vectors: NDArray[np.float32]  # (B, V)
    has_vector: NDArray[np.float32]  # (B,)


class BatchMaker:
    """Draws classes by the recipe's shares, some views of each, and a random change of each view (a PK sampler)."""

    def __init__(self, recipe: EmbedderRecipe, pool: Pool, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.pool, self.rank, self.world = recipe, pool, rank, world
        order = np.argsort(pool.labels, kind="stable")
        starts = np.searchsorted(pool.labels[order], np.arange(pool.classes + 1))
        self._members = [order[a:b] for a, b in pairwise(starts)]
        source_of_class = np.array([pool.sources[members[0]] for members in self._members])
        shares = np.array([source.share for source in recipe.data])
        counts = np.bincount(source_of_class, minlength=len(shares))
        # Within a source, classes are drawn evenly; between sources, by share.
        weight = shares[source_of_class] / counts[source_of_class]
        self._probability = weight / weight.sum()

    def __call__(self, step: int) -> Batch:
        """The batch of this rank at `step`."""
        recipe, pool, stage = self.recipe, self.pool, self.recipe.stage_at(step)
        rng = np.random.default_rng([recipe.seed, self.rank, step])
        classes = stage.batch // self.world // recipe.views_per_class
        chosen = rng.choice(len(self._members), classes, replace=False, p=self._probability)
        indices = np.concatenate([self._some_of(self._members[label], rng) for label in chosen])
        images = np.stack([augment(pool.views[i], stage.size_px, rng, pool.backgrounds) for i in indices])
        return Batch(
            images, pool.labels[indices], pool.targets[indices], pool.vectors[indices], pool.has_vector[indices]
        )

    def _some_of(self, members: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        few = len(members) < self.recipe.views_per_class
        return rng.choice(members, self.recipe.views_per_class, replace=few)


def batches(recipe: EmbedderRecipe, pool_folder: Path, first_step: int, rank: int, world: int) -> Generator[Batch, None, None]:
    """Batches from `first_step` to the recipe's end. Closing the iterator ends the process behind it."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue(AHEAD)
    process: SpawnProcess = context.Process(
        target=_produce, args=(recipe, pool_folder, first_step, rank, world, queue), daemon=True
    )
    process.start()
    try:
        for _ in range(first_step, recipe.steps):
            yield queue.get()
    finally:
        process.terminate()
        process.join()


def _produce(recipe: EmbedderRecipe, pool_folder: Path, first: int, rank: int, world: int, queue: Any) -> None:
    import cv2

    cv2.setNumThreads(1)
    make = BatchMaker(recipe, load_pool(pool_folder), rank, world)
    for step in range(first, recipe.steps):
        queue.put(make(step))

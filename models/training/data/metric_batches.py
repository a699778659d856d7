"""Batches for metric learning, decided by (seed, step) alone: a resumed run sees the same ones.

Pictures come from the pool, or straight from their files where a pool would fill the disk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.data.class_sampling import pk_sampler
from models.training.data.metric_views import augmented
from models.training.data.photos import read_rgb
from models.training.data.pool import Pool, training_photos
from models.training.data.readers.pictures import Progress, require_files
from models.training.engine.processes import Group
from models.training.errors import TrainingError
from models.training.recipes.metric import MetricRecipe


@dataclass(frozen=True)
class Pictures:
    """N labelled pictures; `read(index)` gives one as (h, w, 3) or (h, w, 4) uint8."""

    labels: NDArray[np.int64]  # (N,) class of each, over all sources
    sources: NDArray[np.int64]  # (N,) index of its source
    read: Callable[[int], NDArray[np.uint8]]
    backgrounds: NDArray[np.uint8] | None = None  # (B, s, s, 3)

    @property
    def classes(self) -> int:
        """How many labels there are, over all sources."""
        return int(self.labels.max()) + 1


def of_pool(pool: Pool) -> Pictures:
    """The views of a pool."""
    return Pictures(pool.labels, pool.sources, lambda index: pool.views[index], pool.backgrounds)


def of_files(recipe: MetricRecipe, data: Path | None, progress: Progress | None = None, threads: int = 1) -> Pictures:
    """The photos of the recipe's list sources, each read when it is needed, and checked here (see `require_files`).

    Raises DatasetError for bad lists, and one for all files that are missing or broken.
    """
    paths: list[Path] = []
    labels: list[int] = []
    sources: list[int] = []
    first_label = 0
    for number, source in enumerate(recipe.data):
        names: dict[str, int] = {}
        for photo in training_photos(source, data):
            paths.append(photo.path)
            labels.append(first_label + names.setdefault(photo.label, len(names)))
            sources.append(number)
        first_label += len(names)
    require_files(paths, progress, threads)
    return Pictures(np.array(labels), np.array(sources), lambda index: read_rgb(paths[index]))


@dataclass(frozen=True)
class LabelledBatch:
    """B augmented pictures and their classes."""

    images: NDArray[np.uint8]  # (B, size, size, 3) RGB
    labels: NDArray[np.int64]  # (B,)


class MetricBatches:
    """This process's part of the batch at each step, of which all processes together have the whole.

    Raises TrainingError if the recipe needs more classes than there are, or has fewer pictures than processes.
    """

    def __init__(self, recipe: MetricRecipe, pictures: Pictures, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.pictures, self.group = recipe, pictures, Group(rank, world)
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))
        if recipe.sampler.kind != "shuffle":
            sampling_weights, by_pictures = (
                [source.sampling_weight for source in recipe.data],
                recipe.sampler.kind == "picture",
            )
            self._sampler = pk_sampler(pictures.labels, pictures.sources, sampling_weights, by_pictures=by_pictures)
        for stage in recipe.stages:
            self._check(stage.batch)

    def __call__(self, step: int) -> LabelledBatch:
        """The part at `step`, from 0."""
        stage, pictures = self.recipe.stage_at(step), self.pictures
        chosen = self._shuffled(step) if self.recipe.sampler.kind == "shuffle" else self._by_class(stage.batch, step)
        mine = self.group.slice_of(len(chosen))
        images = [self._augmented(int(index), step, mine.start + place) for place, index in enumerate(chosen[mine])]
        return LabelledBatch(np.stack(images), pictures.labels[chosen[mine]])

    def _augmented(self, index: int, step: int, place: int) -> NDArray[np.uint8]:
        """A picture, augmented by a generator of its own: no process has to augment those of the others."""
        rng = np.random.default_rng([self.recipe.seed, step, 1 + place])  # [1, 5] and [1, 5, 0] are the same seed
        size_px = self.recipe.stage_at(step).size_px
        return augmented(self.pictures.read(index), size_px, rng, self.recipe.augment, self.pictures.backgrounds)

    def _by_class(self, batch: int, step: int) -> NDArray[np.int64]:
        rng, views = np.random.default_rng([self.recipe.seed, step]), self.recipe.sampler.views_per_class
        return self._sampler(rng, batch // views, views)

    def _shuffled(self, step: int) -> NDArray[np.int64]:
        """The next pictures of the epochs' permutations, read one after the other."""
        count, first = len(self.pictures.labels), self.recipe.pictures_before(step)
        places = range(first, first + self.recipe.stage_at(step).batch)
        return np.array([self._in_epoch(place // count)[place % count] for place in places])

    def _in_epoch(self, epoch: int) -> NDArray[np.int64]:
        known, order = self._epoch  # one assignment: batches are made by several threads
        if epoch != known:
            order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.pictures.labels))
            self._epoch = (epoch, order)
        return order

    def _check(self, batch: int) -> None:
        if batch < self.group.size:
            raise TrainingError(f"a batch of {batch} gives {self.group.size} processes nothing to do")
        if self.recipe.sampler.kind != "shuffle":
            self._sampler.require(batch, self.recipe.sampler.views_per_class)

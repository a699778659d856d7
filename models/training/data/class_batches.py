"""The batches of a classifier's training, decided by (seed, rank, step) alone: a resumed run sees the same ones."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from models.training.data.class_data import ClassPictures
from models.training.data.class_views import mixed, random_view
from models.training.engine.inputs import normalize
from models.training.errors import TrainingError
from models.training.recipes.classifier import ClassifierRecipe, ClassSampler


@dataclass(frozen=True)
class ClassBatch:
    """B augmented pictures with their classes; `others` are the classes of what shines through with weight 1 - `own`."""

    pixels: NDArray[np.float32]  # (B, 3, size, size) normalised
    labels: NDArray[np.int64]  # (B,)
    others: NDArray[np.int64]  # (B,)
    own: float


@dataclass(frozen=True)
class Shape:
    """What one step takes: how many pictures, over all processes, and how large."""

    size_px: int
    batch: int


class EpochSampler:
    """Every picture once an epoch, in batches of the sampler's shapes; the last one is filled from the first."""

    def __init__(self, sampler: ClassSampler, seed: int, count: int, world: int = 1) -> None:
        """Raises TrainingError for a batch that is too small to be shared by `world` processes."""
        self._seed, self._count = seed, count
        choices = [_shape(sampler, size, world) for size in sampler.scales]
        rng = np.random.default_rng([seed, 11])
        self.shapes: list[Shape] = []  # of an epoch's steps: the same in each, so that the number of steps is known
        taken = 0
        while taken < count:
            self.shapes.append(choices[int(rng.integers(len(choices)))])
            taken += self.shapes[-1].batch
        self._starts = [0, *accumulate(shape.batch for shape in self.shapes)]
        self._order = lru_cache(2)(self._shuffled)

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return len(self.shapes)

    def __call__(self, step: int) -> NDArray[np.int64]:
        """The pictures of all processes at `step`, from 0 over all epochs."""
        epoch, place = divmod(step, self.steps)
        places = np.arange(self._starts[place], self._starts[place + 1]) % self._count
        return self._order(epoch)[places]

    def pictures_before(self, step: int) -> int:
        """How many pictures the steps before `step` take, over all processes."""
        epoch, place = divmod(step, self.steps)
        return epoch * self._starts[-1] + self._starts[place]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(self._count)


class ClassBatches:
    """The batch of one process at each step."""

    def __init__(self, recipe: ClassifierRecipe, pictures: ClassPictures, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.pictures, self.rank, self.world = recipe, pictures, rank, world
        self.sampler = EpochSampler(recipe.sampler, recipe.seed, len(pictures), world)

    def __call__(self, step: int) -> ClassBatch:
        """The batch at `step`, from 0. A picture is augmented alike in whichever process it comes. Raises DatasetError."""
        recipe, pictures = self.recipe, self.pictures
        epoch, place = divmod(step, self.sampler.steps)
        size = self.sampler.shapes[place].size_px
        chosen = self.sampler(step)[self.rank :: self.world]
        rngs = [np.random.default_rng([recipe.seed, epoch, i]) for i in chosen]
        views = [
            random_view(pictures.read(int(i)), size, rng, recipe.augment) for i, rng in zip(chosen, rngs, strict=True)
        ]
        pixels, labels = normalize(np.stack(views)), pictures.labels[chosen]
        if not recipe.augment.mixup_alpha:
            return ClassBatch(pixels, labels, labels, 1.0)
        rng = np.random.default_rng([recipe.seed, self.rank, step, 13])
        pixels, others, own = mixed(pixels, rng, recipe.augment.mixup_alpha)
        return ClassBatch(pixels, labels, labels[others], own)


def _shape(sampler: ClassSampler, size: int, world: int) -> Shape:
    """That scale with about as many pixels a batch as the first one has."""
    side = size // sampler.divisor * sampler.divisor
    pictures = sampler.batch * sampler.scales[0] ** 2 // side**2 if size != sampler.scales[0] else sampler.batch
    shared = pictures // world * world
    if not shared:
        raise TrainingError(f"batch {sampler.batch} leaves {pictures} pictures of {side} pixels to {world} process(es)")
    return Shape(side, shared)

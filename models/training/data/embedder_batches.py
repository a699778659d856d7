"""Batches of augmented views, made by a separate process and decided by (seed, step) alone: a resumed run sees the same ones.

With several training processes each makes its own part of the step's batch, so that all together see what one would.
"""

import multiprocessing
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.training.data.augment import DEFAULT, HANDHELD, augment
from models.training.data.class_sampling import pk_sampler
from models.training.data.pool import Pool, fit, load_pool
from models.training.errors import TrainingError
from models.training.recipes.pictures import PictureSources
from models.training.teachers.embedders import EmbedderTeachers

PREFETCHED = 3  # batches kept ready
ENDING_S = 5.0
NEIGHBOURS = "neighbours.npy"


@dataclass(frozen=True)
class Batch:
    """B views with the labels and targets of each."""

    images: NDArray[np.uint8]  # (B, size, size, 3) RGB
    labels: NDArray[np.int64]  # (B,)
    targets: NDArray[np.float32]  # (B, D)
    vectors: NDArray[np.float32]  # (B, V)
    has_vector: NDArray[np.float32]  # (B,)
    relations: NDArray[np.float32]  # (B, R) unit rows of all teachers that look at the views; R is 0 without


class BatchMaker:
    """Samples classes by the recipe's sampling weights, some views of each, and a random augmentation of each view.

    Of `world` processes, that of `rank` makes the views of its part of the step's classes.
    """

    def __init__(
        self,
        recipe: PictureSources,
        pool: Pool,
        rank: int = 0,
        world: int = 1,
        neighbours: NDArray[np.int64] | None = None,
        teachers: EmbedderTeachers | None = None,
    ) -> None:
        self.recipe, self.pool, self.rank, self.world = recipe, pool, rank, world
        self._teachers = teachers
        self._strength = HANDHELD if recipe.handheld else DEFAULT
        sampler = pk_sampler(pool.labels, pool.sources, [source.sampling_weight for source in recipe.data])
        self._sampler = replace(sampler, neighbours=neighbours, hard=recipe.hard_classes)
        for stage in recipe.stages:
            self._sampler.require(stage.batch, recipe.views_per_class, world)

    def __call__(self, step: int) -> Batch:
        """The batch of this rank at `step`."""
        recipe, pool, stage = self.recipe, self.pool, self.recipe.stage_at(step)
        rng = np.random.default_rng([recipe.seed, step])
        wanted, views = stage.batch // recipe.views_per_class, recipe.views_per_class
        indices = self._sampler(rng, wanted, views)
        per_process = (
            wanted // self.world * views
        )  # classes stay together; those that can't be shared out evenly are left out
        places = range(self.rank * per_process, (self.rank + 1) * per_process)
        # Each view has its own generator, so a process makes its views without those of others.
        side = max(stage.size_px, self._teachers.size_px) if self._teachers else stage.size_px
        images = [
            augment(pool.views[indices[place]], side, self._augment_rng(step, place), pool.backgrounds, self._strength)
            for place in places
        ]
        mine = indices[places.start : places.stop]
        targets, relations = pool.targets[mine], np.zeros((len(mine), 0), np.float32)
        if self._teachers:
            seen = self._teachers(images)
            targets, relations = seen.targets, seen.together
            images = [fit(image, stage.size_px) for image in images]
        known, has = pool.vectors[mine], pool.has_vector[mine]
        return Batch(np.stack(images), pool.labels[mine], targets, known, has, relations)

    def _augment_rng(self, step: int, place: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, step, 1 + place])  # [1, 5] and [1, 5, 0] are the same seed


def batches(
    recipe: PictureSources, pool_folder: Path, first_step: int, rank: int, world: int, data: Path | None = None
) -> Generator[Batch, None, None]:
    """Batches from `first_step` to the recipe's end. Closing the iterator ends its process.

    The classes most alike to each are read from NEIGHBOURS next to the pool's folder, where a recipe wants them.

    Raises TrainingError if that process ends too early. It ends by itself when this one does, even by SIGKILL: each holds
    only its own end of the pipe, so neither can wait for the other in vain.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_produce, args=(recipe, pool_folder, first_step, rank, world, data, sender), daemon=True, name="batches"
    )
    process.start()
    sender.close()
    try:
        for _ in range(first_step, recipe.steps):
            yield _received(receiver)
    except (EOFError, OSError):  # OSError: in the middle of a batch
        process.join()
        raise TrainingError(
            f"the process that makes the batches ended (exit code {process.exitcode}); call again to resume"
        ) from None
    finally:
        receiver.close()  # which ends the process at its next batch
        process.join(ENDING_S)
        process.kill()
        process.join()


def _received(receiver: "Connection[object, Batch | TrainingError]") -> Batch:
    message = receiver.recv()
    if isinstance(message, TrainingError):
        raise message
    return message


def _produce(
    recipe: PictureSources,
    pool_folder: Path,
    first: int,
    rank: int,
    world: int,
    data: Path | None,
    sender: "Connection[Batch | TrainingError, object]",
) -> None:
    """Sends the batches in order, AHEAD of them being made while the reader is busy."""
    import cv2

    cv2.setNumThreads(1)
    try:
        near = pool_folder.parent / NEIGHBOURS
        neighbours = np.load(near, allow_pickle=False) if recipe.hard_classes else None
        teachers = EmbedderTeachers(recipe, data) if recipe.teachers else None
        make = BatchMaker(recipe, load_pool(pool_folder), rank, world, neighbours, teachers)
    except ModelError as error:
        sender.send(error if isinstance(error, TrainingError) else TrainingError(error.detail))
        return
    with ThreadPoolExecutor(1) as maker:
        waiting = deque(maker.submit(make, step) for step in range(first, min(first + PREFETCHED, recipe.steps)))
        for step in range(first + PREFETCHED, recipe.steps + PREFETCHED):
            try:
                sender.send(waiting.popleft().result())
            except BrokenPipeError:  # the reader is gone
                maker.shutdown(cancel_futures=True)
                return
            if step < recipe.steps:
                waiting.append(maker.submit(make, step))

"""Train the main-body detector by its recipe: from boxes, and from a teacher's or its own average's answers."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.folders import resolve
from models.evaluation.detector_sets import eval_pictures
from models.nets.picodet import PicoDet
from models.training.data.detection_data import BatchMaker, Pool, build_pool, load_pool, open_files
from models.training.data.detection_views import Picture
from models.training.engine.fit import Context
from models.training.engine.run import Evaluated
from models.training.engine.schedule import AverageRule, MovingAverage, Schedule, cosine_learning_rate, images_before
from models.training.errors import TrainingError
from models.training.losses.detection import by_cell, detection_losses
from models.training.losses.detector_distillation import distillation_losses
from models.training.networks.detector import (
    as_input,
    build_detector,
    load_backbone,
    load_weights,
    make_optimizer,
)
from models.training.recipes.detector import DetectorRecipe
from models.training.tasks.detector_evaluation import evaluate
from models.training.teachers.detector import Heads, HeadsTeacher, open_heads_teacher

REPORT_EVERY, SAVE_EVERY = 25, 100  # steps
Batch = tuple[NDArray[np.uint8], list[Picture]]  # (B, s, s, 3) RGB, and the same with their boxes


class DetectorTask:
    """See models.training.engine.fit.Task. `init` is another run's `best.npz`, `.pdparams` or an artifact of the same network, or its name."""

    def __init__(self, recipe: DetectorRecipe, context: Context) -> None:
        self._context = context
        data, group, threads = context.data, context.group, context.threads
        self.eval_model = build_detector(recipe)
        load_start(self.eval_model, recipe, data, context.init)
        self._teacher = open_teacher(recipe, data, threads)
        self._eval_sets = (
            {eval_set.name: eval_pictures(eval_set, recipe, data) for eval_set in recipe.eval}
            if group.rank == 0
            else {}
        )
        pool = open_pool(recipe, context)
        self.plan = recipe = recipe.in_steps(len(pool.sources))
        if any(stage.batch % group.size for stage in recipe.stages):
            raise TrainingError(f"each stage's batch must be a multiple of the {group.size} processes")
        weights = tuple(source.sampling_weight for source in recipe.data)
        self._make = BatchMaker(pool, weights, recipe.seed, recipe.variation, threads)
        table = recipe.optimizer
        self.schedule = Schedule(
            recipe.seed,
            recipe.steps,
            recipe.evaluate_every,
            lambda step: cosine_learning_rate(
                step, recipe.steps, table.learning_rate, table.warmup_steps, table.final, table.warmup_from
            ),
            lambda step: images_before(recipe.stages, step),
            AverageRule(table.ema_decay, table.ema_cycle_steps or recipe.steps, table.ema_adopt),
            REPORT_EVERY,
            SAVE_EVERY,
        )

    def build(self) -> PicoDet:
        """The detector."""
        return build_detector(self.plan)

    def optimizer(self, module: PicoDet) -> paddle.optimizer.Optimizer:
        """The recipe's."""
        return make_optimizer(module, self.plan.optimizer)

    def served(self, module: PicoDet) -> nn.Layer:
        """The detector."""
        return module

    def start(self, module: PicoDet) -> None:
        """See `load_start`."""
        load_start(module, self.plan, self._context.data, self._context.init)

    def batches(self, module: PicoDet, steps: range) -> Generator[Batch, None, None]:
        """Augmented pictures of one of the stage's sizes."""
        group = self._context.group
        for step in steps:
            sizes = self.plan.stage_at(step).sizes_px
            size = sizes[int(np.random.default_rng([self.plan.seed, step, 1]).integers(len(sizes)))]
            yield self._make(step, self.plan.stage_at(step).batch, size, group.rank, group.size)

    def losses(self, module: PicoDet, batch: Batch, step: int, average: MovingAverage) -> dict[str, paddle.Tensor]:
        """The weighted parts of the loss, on this process's part of the batch."""
        recipe, mean, (images, pictures) = self.plan, self._context.group.mean, batch
        boxes, certainty = [p.boxes for p in pictures], [p.certainty for p in pictures]
        levels = module(as_input(images))
        parts = detection_losses(levels, boxes, images.shape[1], recipe.loss, certainty, mean)
        if recipe.distill.kind and step >= recipe.distill.from_fraction * recipe.steps:
            heads = self._by_average(images, average) if self._teacher is None else self._teacher(images)
            logits, bins = by_cell(levels)
            parts |= distillation_losses(logits, bins, heads.scores, heads.bins, recipe.distill, mean)
        return parts

    def evaluate(self, done: int) -> Evaluated:
        """AP50 and AP50:95 of each eval set."""
        return evaluate(self.plan, self.eval_model, self._eval_sets, done, self._context.threads)

    def _by_average(self, images: NDArray[np.uint8], average: MovingAverage) -> Heads:
        """What the averaged weights answer: the teacher of self-distillation."""
        self.eval_model.set_state_dict(average.values)
        self.eval_model.eval()
        with paddle.no_grad():
            logits, bins = by_cell(self.eval_model(as_input(images)))
        return Heads(paddle.nn.functional.sigmoid(logits).numpy(), bins.numpy())


def open_pool(recipe: DetectorRecipe, context: Context) -> Pool:
    """The pictures to train on; the first process makes the pool. Raises DatasetError."""
    data, out, prepare = context.data, context.out, context.prepare
    if not recipe.pool:
        return open_files(recipe.data, recipe.pool_px, data, prepare)
    if context.group.rank == 0:
        build_pool(recipe.data, recipe.pool_px, data, out / "pool", prepare, processes=context.threads)
    context.group.wait("pool")
    return load_pool(out / "pool")


def load_start(network: PicoDet, recipe: DetectorRecipe, data: Path | None, init: Path | None) -> None:
    """Weights to start from: another run's or an artifact's if `init` names them, else a classifier's body if the recipe does."""
    if init is not None:
        load_weights(network, init if init.exists() else resolve(init))
    elif recipe.network.backbone:
        if data is None:
            raise TrainingError("the recipe's backbone needs a data folder (--data)")
        load_backbone(network, data / recipe.network.backbone)


def open_teacher(recipe: DetectorRecipe, data: Path | None, threads: int) -> HeadsTeacher | None:
    """The program that the recipe's `[distill]` table names. Raises ArtifactError."""
    if recipe.distill.kind != "teacher":
        return None
    sizes = sorted({size for stage in recipe.stages for size in stage.sizes_px})
    return open_heads_teacher(recipe.distill, data, sizes, recipe.network.reg_max, threads)

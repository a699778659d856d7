"""Train the main-body detector by its recipe: read it in one go, from the pictures to the last checkpoint."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray

from models.artifacts.folders import resolve
from models.evaluation.detector_sets import eval_pictures
from models.nets.picodet import PicoDet
from models.training.data.detection_data import BatchMaker, Pool, build_pool, load_pool, open_files
from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.loop import Progress
from models.training.engine.processes import Group
from models.training.engine.run import Evaluated, Run, take_step
from models.training.engine.schedule import MovingAverage
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.errors import TrainingError
from models.training.losses.detection import by_cell, detection_losses
from models.training.networks.detector import (
    as_input,
    build_detector,
    detect_with,
    load_backbone,
    load_weights,
    make_optimizer,
)
from models.training.recipes.detector import (
    DetectorEvalSource,
    DetectorNetwork,
    DetectorRecipe,
    DetectorStage,
    learning_rate_at,
)
from models.training.tasks.detector_distillation import Answers, Teacher, distillation_losses, open_program_teacher
from models.training.tasks.detector_evaluation import evaluate

# The face of a detector's training: what the other modules and the command line take from it.
__all__ = [
    "DetectorEvalSource",
    "DetectorNetwork",
    "DetectorRecipe",
    "DetectorStage",
    "as_input",
    "build_detector",
    "detect_with",
    "eval_pictures",
    "load_weights",
    "train_detector",
]
REPORT_EVERY, SAVE_EVERY = 25, 100  # steps


def train_detector(
    recipe: DetectorRecipe,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Callable[[str, int, int], None],
    *,
    threads: int = 1,
    init: Path | None = None,
    stop_after: int | None = None,
) -> Path:
    """Run `recipe` to its end, or go on where `out/last.npz` stands. Returns `out/best.npz`, averaged weights.

    `data` is the folder that the recipe's photo sources are relative to. `stop_after` ends the run early after that
    many steps in all, as a kill would, but with a checkpoint. A new run starts from the weights of `init` (another run's
    `best.npz`, an artifact or its name, of the same network) if given, else from random ones. Beside the weights lie `curve.jsonl`, `curve.png` and
    `metrics.json`. Under `paddle.distributed.launch` every process takes its share of each batch.
    Raises TrainingError, RecipeError, DatasetError, ArtifactError.
    """
    keep_freed_memory()
    group = Group.from_environment()
    eval_model = build_detector(recipe)
    # First what may be wrong with weights, teacher and eval sets: it is told before pictures are drawn.
    begin(eval_model, recipe, data, init)
    teacher = open_teacher(recipe, data, threads)
    eval_sets = (
        {eval_set.name: eval_pictures(eval_set, recipe, data) for eval_set in recipe.eval} if group.rank == 0 else {}
    )
    pool = open_pool(recipe, data, out, prepare, threads, group)
    recipe = recipe.in_steps(len(pool.sources))
    if any(stage.batch % group.size for stage in recipe.stages):
        raise TrainingError(f"each stage's batch must be a multiple of the {group.size} processes")
    make = BatchMaker(
        pool, tuple(source.sampling_weight for source in recipe.data), recipe.seed, recipe.variation, threads
    )
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by parameter name: the guard gives each run the same names, whatever ran before.
    with paddle.utils.unique_name.guard():
        network = build_detector(recipe)
        optimizer = make_optimizer(network, recipe.optimizer)
    accelerate(network, threads)
    accelerate(eval_model, threads)
    synchronise_norms(network, group)
    begin(network, recipe, data, init)
    average = MovingAverage(network, recipe.optimizer.ema_decay)
    teacher = taught_by_itself(eval_model, average) if recipe.distill.kind == "self" else teacher
    parts_of_run = {"network": network, "optimizer": optimizer, "average": average}
    run = Run(
        out,
        recipe,
        parts_of_run,
        group,
        report,
        recipe.steps,
        recipe.evaluate_every,
        stop_after=stop_after,
        report_every=REPORT_EVERY,
        save_every=SAVE_EVERY,
    )

    def evaluated(done: int) -> Evaluated:
        return evaluate(recipe, eval_model, average.values, eval_sets, done, threads)

    with paddle.utils.unique_name.guard():
        for step in run.steps:
            optimizer.set_lr(learning_rate_at(step, recipe.steps, recipe.optimizer))
            network.train()
            parts = losses_of(network, recipe, make, step, group, teacher)
            values = take_step(parts, step, network, optimizer, group)
            cycle = recipe.optimizer.ema_cycle_steps or recipe.steps
            average.update(network, step % cycle)
            if recipe.optimizer.ema_adopt and (step + 1) % cycle == 0:
                network.set_state_dict(average.values)
            left = sum(recipe.stage_at(later).batch for later in range(step + 1, run.last))
            run.after(step, values, recipe.stage_at(step).batch, left, network, evaluated)
    return out / "best.npz"


def losses_of(
    network: PicoDet, recipe: DetectorRecipe, make: BatchMaker, step: int, group: Group, teacher: Teacher | None
) -> dict[str, paddle.Tensor]:
    """The weighted parts of the loss at `step`, on this process's share of the batch."""
    stage = recipe.stage_at(step)
    size = stage.sizes_px[int(np.random.default_rng([recipe.seed, step, 1]).integers(len(stage.sizes_px)))]
    images, pictures = make(step, stage.batch, size, group.rank, group.size)
    boxes, certainty = [p.boxes for p in pictures], [p.certainty for p in pictures]
    levels = network(as_input(images))
    parts = detection_losses(levels, boxes, size, recipe.loss, certainty, group.mean)
    if teacher is not None and step >= recipe.distill.from_share * recipe.steps:
        logits, bins = by_cell(levels)
        parts |= distillation_losses(logits, bins, teacher(images), recipe.distill, group.mean)
    return parts


def open_pool(
    recipe: DetectorRecipe,
    data: Path | None,
    out: Path,
    prepare: Callable[[str, int, int], None],
    threads: int,
    group: Group,
) -> Pool:
    """The pictures to train on; the first process makes the pool. Raises DatasetError."""
    if not recipe.pool:
        return open_files(recipe.data, recipe.pool_px, data, prepare)
    out.mkdir(parents=True, exist_ok=True)
    if group.rank == 0:
        build_pool(recipe.data, recipe.pool_px, data, out / "pool", prepare, processes=threads)
    group.wait("pool")
    return load_pool(out / "pool")


def begin(network: PicoDet, recipe: DetectorRecipe, data: Path | None, init: Path | None) -> None:
    """Weights to start from: a classifier's body if the recipe names one, another run's if `init` does."""
    if init is not None:
        load_weights(network, init if init.exists() else resolve(init))
    elif recipe.network.backbone:
        if data is None:
            raise TrainingError("the recipe's backbone needs a data folder (--data)")
        load_backbone(network, data / recipe.network.backbone)


def open_teacher(recipe: DetectorRecipe, data: Path | None, threads: int) -> Teacher | None:
    """The program that the recipe's `[distill]` table names. Raises ArtifactError."""
    if recipe.distill.kind != "teacher":
        return None
    sizes = sorted({size for stage in recipe.stages for size in stage.sizes_px})
    return open_program_teacher(recipe.distill, data, sizes, recipe.network.reg_max, threads)


def taught_by_itself(eval_model: PicoDet, average: MovingAverage) -> Teacher:
    """The answers of the averaged weights, in the network `eval_model`."""

    def teach(images: NDArray[np.uint8]) -> Answers:
        eval_model.set_state_dict(average.values)
        eval_model.eval()
        with paddle.no_grad():
            logits, bins = by_cell(eval_model(as_input(images)))
        return Answers(paddle.nn.functional.sigmoid(logits).numpy(), bins.numpy())

    return teach

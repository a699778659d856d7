"""Train an embedder by a metric-learning recipe: read it in one go, from the network to the last checkpoint."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams
from models.training.ahead import ahead
from models.training.checkpoint import Checkpoint, to_arrays
from models.training.cpu_convolution import accelerate, keep_freed_memory
from models.training.errors import TrainingError
from models.training.exams import Embed, Sheet, examine, set_exams
from models.training.loop import Progress, RunLog, require_finite, require_numbers, resume_run, save_run
from models.training.metric_batches import MetricBatches, Pictures, of_files, of_pool
from models.training.metric_exams import PhotoSheet, examine_photos, photo_sheets
from models.training.metric_network import Learner, MetricEmbedder
from models.training.metric_recipe import MetricOptimizer, MetricRecipe
from models.training.pool import Pool, build_pool, load_pool
from models.training.processes import Group
from models.training.schedule import MovingAverage, cosine_learning_rate
from models.training.statistics import normalize, settle_statistics
from models.training.synchronised_norm import synchronise_norms
from models.training.train_embedder import embed_with, load_weights

SAVE_EVERY, REPORT_EVERY = 250, 50  # steps
SHITU_ONLY = ("last_conv.", "stages.3.0.dw_conv_list.2.")  # another width and a bias; the branch that stride 1 adds


@dataclass(frozen=True)
class Sheets:
    """The exams whose pictures are held in memory, and those whose photos are read each time."""

    held: tuple[Sheet, ...] = ()
    read: tuple[PhotoSheet, ...] = ()

    def take(self, embed: Embed, size_px: int) -> dict[str, float]:
        """recall@1 of each exam, by name."""
        return examine(embed, self.held) | examine_photos(embed, self.read, size_px)


def train_metric(
    recipe: MetricRecipe,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Callable[[str, int, int], None],
    *,
    threads: int = 1,
    init: Path | None = None,
    stop_after: int | None = None,
) -> Path:
    """Run `recipe` to its end, or go on where `out/last.npz` stands. Returns `out/best.npz`.

    A new run starts from the weights of `init` if given (see `start_from`), else from random ones. `data` is the folder that
    photo sources are relative to. `stop_after` ends the run early after that many steps in all, as a kill would, but with a
    checkpoint. Raises TrainingError, RecipeError, DatasetError, ArtifactError.
    """
    keep_freed_memory()
    group = Group.from_environment()
    out.mkdir(parents=True, exist_ok=True)
    paddle.seed(recipe.seed)
    # First what may be wrong with the recipe: a stop layer that is not there, an exam's list.
    judge = MetricEmbedder(recipe)
    sheets = prepare_exams(recipe, data) if group.rank == 0 else Sheets()
    pictures, pool = gather(recipe, data, out / "pool", prepare, group, threads)
    make = MetricBatches(recipe, pictures, group.rank, group.size)
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        learner = Learner(recipe, pictures.classes, group)
        optimizer = make_optimizer(learner, recipe.optimizer)
    accelerate(learner, threads)
    accelerate(judge, threads)
    synchronise_norms(learner, group)
    if init is not None:
        start_from(learner.embedder, init)
    average = MovingAverage(learner.embedder, recipe.optimizer.ema_decay)
    parts_of_run = {"learner": learner, "optimizer": optimizer, "average": average}
    first, best = resume_run(out / "last.npz", recipe, parts_of_run)
    last = min(recipe.steps, stop_after or recipe.steps)
    log = RunLog(out, recipe.steps, first, report) if group.rank == 0 and first < last else None
    with closing(ahead(make, range(first, last), threads)) as source, paddle.utils.unique_name.guard():
        for step, batch in zip(range(first, last), source, strict=True):
            if recipe.backbone.dropout:  # a resumed run drops the same as an uninterrupted one
                paddle.seed((recipe.seed * group.size + group.rank) * recipe.steps + step)
            optimizer.set_lr(
                cosine_learning_rate(step, recipe.steps, recipe.optimizer.learning_rate, recipe.optimizer.warmup_steps)
            )
            learner.train()
            parts = learner(paddle.to_tensor(normalize(batch.images)), paddle.to_tensor(batch.labels), step)
            values = group.mean({name: float(part) for name, part in parts.items()})
            require_finite(values, step)
            sum(parts.values(), paddle.zeros([])).backward()
            group.average_gradients(learner)
            optimizer.step()
            optimizer.clear_grad()
            average.update(learner.embedder, step)
            done = step + 1
            examined = done % recipe.evaluate_every == 0 or done == last
            if log is not None:
                log.add(values, len(batch.labels) * group.size)
                if examined or done % REPORT_EVERY == 0:
                    require_numbers(learner, done)
                    speed, exams = log.speed(), None
                    if examined:
                        exams, best = keep_best(recipe, average, judge, pool, sheets, done, best, out / "best.npz")
                    log.tell(done, recipe.pictures_before(last) - recipe.pictures_before(done), speed, exams)
                if examined or done % SAVE_EVERY == 0:
                    save_run(out / "last.npz", recipe, done, best, parts_of_run)
            if examined:
                group.wait(f"exam at {done}")
    return out / "best.npz"


def gather(
    recipe: MetricRecipe,
    data: Path | None,
    folder: Path,
    prepare: Callable[[str, int, int], None],
    group: Group,
    threads: int,
) -> tuple[Pictures, Pool | None]:
    """What batches are drawn from: the pool in `folder`, made if it is not there, or the photos' files."""
    if not recipe.pool_px:
        return of_files(recipe, data), None
    if group.rank == 0:
        build_pool(recipe.pictures, data, folder, prepare, processes=threads)
    group.wait("pool")
    pool = load_pool(folder)
    return of_pool(pool), pool


def prepare_exams(recipe: MetricRecipe, data: Path | None) -> Sheets:
    """All exams of the recipe; those on photos need `data`, and are read at each exam where the recipe has no pool."""
    drawn = tuple(exam for exam in recipe.exams if exam.kind == "rendered" or recipe.pool_px)
    read = tuple(exam for exam in recipe.exams if exam not in drawn)
    held = set_exams(replace(recipe.pictures, exams=drawn, select_by=()), data, recipe.deploy_px)
    return Sheets(tuple(held), tuple(photo_sheets(read, data)))


def keep_best(
    recipe: MetricRecipe,
    average: MovingAverage,
    judge: nn.Layer,
    pool: Pool | None,
    sheets: Sheets,
    step: int,
    best: float,
    path: Path,
) -> tuple[dict[str, float], float]:
    """Examine the averaged weights; save them if no earlier ones were better than `best`. Without exams the last are kept."""
    judge.set_state_dict(average.values)
    if recipe.settle_pictures and pool is not None:
        settle_statistics(judge, pool, recipe.deploy_px, recipe.seed, recipe.settle_pictures)
    exams = sheets.take(embed_with(judge), recipe.deploy_px)
    asked = [exams[name] for name in recipe.select_by if name in exams] or list(exams.values())
    score = float(np.mean(asked)) if asked else float(step)
    if score >= best:
        best = score
        Checkpoint({"embedder": to_arrays(judge.state_dict())}, {"step": step, "exams": exams}).save(path)
    return exams, best


def make_optimizer(learner: Learner, table: MetricOptimizer) -> paddle.optimizer.Optimizer:
    """Momentum with L2 over all parameters, as PaddleClas has it, or AdamW that spares biases and batch norms."""
    clip = nn.ClipGradByGlobalNorm(table.clip_norm) if table.clip_norm else None
    learning = [parameter for parameter in learner.parameters() if not parameter.stop_gradient]
    if table.kind == "momentum":
        decay = paddle.regularizer.L2Decay(table.weight_decay)
        return paddle.optimizer.Momentum(
            table.learning_rate, 0.9, parameters=learning, weight_decay=decay, grad_clip=clip
        )
    decayed = {parameter.name for parameter in learning if len(parameter.shape) > 1}
    return paddle.optimizer.AdamW(
        table.learning_rate,
        parameters=learning,
        weight_decay=table.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=clip,
    )


def start_from(embedder: MetricEmbedder, path: Path) -> None:
    """Put another run's `best.npz`, an official embedder's `.pdparams`, or an official backbone's, into `embedder`.

    Of `.pdparams`, head and classifier are passed over, and for a ShiTu last stage what an ImageNet network has otherwise
    there (SHITU_ONLY): PP-ShiTuV2 begins so. Raises ArtifactError or TrainingError for another network's weights.
    """
    if path.suffix != ".pdparams":
        load_weights(embedder, path)
        return
    try:
        theirs = read_pdparams(path)
        whole = any(name.startswith("backbone.") for name in theirs)
        network, bias = (embedder, "") if whole else (embedder.backbone, "last_conv.bias")
        widened = bias in network.state_dict() and bias not in theirs
        load_pdparams(network, path, ignore=("head.", "fc.", *(SHITU_ONLY if widened else ())))
    except ParameterError as error:
        raise TrainingError(str(error)) from error

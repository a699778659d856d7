"""Train an embedder by a metric-learning recipe: read it in one go, from the network to the last checkpoint."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import paddle
from paddle import nn

from models.evaluation.eval_sets import Embed, EvalSet, evaluate, load_eval_sets
from models.evaluation.photo_recall import PhotoEvalSet, evaluate_photos, photo_eval_sets
from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams
from models.training.data.metric_batches import MetricBatches, Pictures, of_files, of_pool
from models.training.data.pool import Pool, build_pool, load_pool, require_sources
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.inputs import normalize
from models.training.engine.loop import Progress
from models.training.engine.optimizers import adamw, momentum
from models.training.engine.prefetch import ahead
from models.training.engine.processes import Group
from models.training.engine.run import Evaluated, Run, score_of, take_step
from models.training.engine.schedule import MovingAverage, cosine_learning_rate
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.errors import TrainingError
from models.training.networks.embedder import embed_with, load_weights
from models.training.networks.metric import MetricEmbedder, TrainingModule
from models.training.recipes.metric import MetricOptimizer, MetricRecipe
from models.training.tasks.precise_bn import settle_statistics

SHITU_ONLY = ("last_conv.", "stages.3.0.dw_conv_list.2.")  # another width and a bias; the branch that stride 1 adds


@dataclass(frozen=True)
class Sheets:
    """The eval sets whose pictures are held in memory, and those whose photos are read each time."""

    held: tuple[EvalSet, ...] = ()
    read: tuple[PhotoEvalSet, ...] = ()

    @property
    def pictures(self) -> int:
        """How many there are in all eval sets."""
        return sum(len(split.images) for split in self.held) + sum(len(split.photos) for split in self.read)

    def take(self, embed: Embed, size_px: int) -> dict[str, float]:
        """recall@1 of each eval set, by name."""
        return evaluate(embed, self.held) | evaluate_photos(embed, self.read, size_px)


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
    # First what may be wrong: a stop layer that is not there, weights of another network, an eval set's list.
    eval_model = MetricEmbedder(recipe)
    if init is not None:
        start_from(eval_model, init)
    require_sources(recipe.pictures, data)
    splits = prepare_eval_sets(recipe, data) if group.rank == 0 else Sheets()
    pictures, pool = gather(recipe, data, out / "pool", prepare, group, threads)
    make = MetricBatches(recipe, pictures, group.rank, group.size)
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        learner = TrainingModule(recipe, pictures.classes, group)
        optimizer = make_optimizer(learner, recipe.optimizer)
    accelerate(learner, threads)
    accelerate(eval_model, threads)
    synchronise_norms(learner, group)
    if init is not None:
        start_from(learner.embedder, init)
    average = MovingAverage(learner.embedder, recipe.optimizer.ema_decay)
    parts_of_run = {"learner": learner, "optimizer": optimizer, "average": average}
    run = Run(out, recipe, parts_of_run, group, report, recipe.steps, recipe.evaluate_every, stop_after=stop_after)

    def evaluated(done: int) -> Evaluated:
        return evaluate_average(recipe, average, eval_model, pool, splits, done, threads)

    with closing(ahead(make, run.steps, threads)) as source, paddle.utils.unique_name.guard():
        for step, batch in zip(run.steps, source, strict=True):
            if recipe.backbone.dropout:  # a resumed run drops the same as an uninterrupted one
                paddle.seed((recipe.seed * group.size + group.rank) * recipe.steps + step)
            optimizer.set_lr(
                cosine_learning_rate(step, recipe.steps, recipe.optimizer.learning_rate, recipe.optimizer.warmup_steps)
            )
            learner.train()
            parts = learner(paddle.to_tensor(normalize(batch.images)), paddle.to_tensor(batch.labels), step)
            values = take_step(parts, step, learner, optimizer, group)
            average.update(learner.embedder, step)
            left = recipe.pictures_before(run.last) - recipe.pictures_before(step + 1)
            run.after(step, values, len(batch.labels) * group.size, left, learner, evaluated)
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
        return of_files(recipe, data, prepare, threads), None
    if group.rank == 0:
        build_pool(recipe.pictures, data, folder, prepare, processes=threads)
    group.wait("pool")
    pool = load_pool(folder)
    return of_pool(pool), pool


def prepare_eval_sets(recipe: MetricRecipe, data: Path | None) -> Sheets:
    """All eval sets of the recipe; those on photos need `data`, and are read at each evaluation where the recipe has no pool."""
    drawn = tuple(eval_set for eval_set in recipe.eval if eval_set.kind == "rendered" or recipe.pool_px)
    read = tuple(eval_set for eval_set in recipe.eval if eval_set not in drawn)
    held = load_eval_sets(replace(recipe.pictures, eval=drawn, select_by=()), data, recipe.deploy_px)
    return Sheets(tuple(held), tuple(photo_eval_sets(read, data)))


def evaluate_average(
    recipe: MetricRecipe,
    average: MovingAverage,
    eval_model: nn.Layer,
    pool: Pool | None,
    splits: Sheets,
    done: int,
    threads: int,
) -> Evaluated:
    """The eval sets' metrics of the averaged weights after `done` steps, in the network `eval_model`."""
    eval_model.set_state_dict(average.values)
    if recipe.settle_pictures and pool is not None:
        settle_statistics(eval_model, pool, recipe.deploy_px, recipe.seed, recipe.settle_pictures)
    embed = embed_with(eval_model, recipe.deploy_px, splits.pictures, threads)
    metrics = splits.take(embed, recipe.deploy_px)
    kept = Checkpoint({"embedder": to_arrays(eval_model.state_dict())}, {"step": done, "eval": metrics})
    return Evaluated(metrics, score_of(metrics, recipe.select_by, done), kept)


def make_optimizer(learner: nn.Layer, table: MetricOptimizer) -> paddle.optimizer.Optimizer:
    """Momentum with L2 over all parameters, as PaddleClas has it, or AdamW that spares biases and batch norms."""
    make = momentum if table.kind == "momentum" else adamw
    return make(learner, table.learning_rate, table.weight_decay, table.clip_norm)


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

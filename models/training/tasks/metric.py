"""Train an embedder by a metric-learning recipe: backbone, neck, head and the losses that it names."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from models.evaluation.eval_sets import Embed, EvalSet, evaluate, load_eval_sets
from models.evaluation.photo_recall import PhotoEvalSet, evaluate_photos, photo_eval_sets
from models.training.data.metric_batches import LabelledBatch, MetricBatches, Pictures, of_files, of_pool
from models.training.data.pool import Pool, build_pool, load_pool, require_sources
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.fit import Context
from models.training.engine.inputs import normalize
from models.training.engine.optimizers import adamw, momentum
from models.training.engine.prefetch import prefetch
from models.training.engine.run import Evaluated, score_of
from models.training.engine.schedule import AverageRule, MovingAverage, Schedule, cosine_learning_rate
from models.training.networks.embedder import embed_with, start_from
from models.training.networks.metric import MetricEmbedder, MetricModule
from models.training.recipes.metric import MetricOptimizer, MetricRecipe
from models.training.tasks.precise_bn import recompute_bn_statistics


@dataclass(frozen=True)
class EvalSets:
    """Those whose pictures are held in memory, and those whose photos are read each time."""

    held: tuple[EvalSet, ...] = ()
    read: tuple[PhotoEvalSet, ...] = ()

    @property
    def pictures(self) -> int:
        """How many there are in all eval sets."""
        return sum(len(eval_set.images) for eval_set in self.held) + sum(len(eval_set.photos) for eval_set in self.read)

    def evaluate(self, embed: Embed, size_px: int) -> dict[str, float]:
        """recall@1 of each eval set, by name."""
        return evaluate(embed, self.held) | evaluate_photos(embed, self.read, size_px)


class MetricTask:
    """See models.training.engine.fit.Task. `init` is as in `models.training.networks.embedder.start_from`."""

    def __init__(self, recipe: MetricRecipe, context: Context) -> None:
        self.plan: Any = recipe
        self.recipe, self.context = recipe, context
        self.eval_model = MetricEmbedder(recipe)
        if context.init is not None:
            start_from(self.eval_model, context.init)
        require_sources(recipe.pictures, context.data)
        self._eval_sets = prepare_eval_sets(recipe, context.data) if context.group.rank == 0 else EvalSets()
        self.pictures, self._pool = gather(recipe, context)
        self._make = MetricBatches(recipe, self.pictures, context.group.rank, context.group.size)
        table = recipe.optimizer
        self.schedule = Schedule(
            recipe.seed,
            recipe.steps,
            recipe.evaluate_every,
            lambda step: cosine_learning_rate(step, recipe.steps, table.learning_rate, table.warmup_steps),
            recipe.pictures_before,
            AverageRule(table.ema_decay),
        )

    def build(self) -> nn.Layer:
        """Embedder, head and losses."""
        return MetricModule(self.recipe, self.pictures.classes, self.context.group)

    def optimizer(self, module: nn.Layer) -> paddle.optimizer.Optimizer:
        """The recipe's."""
        return make_optimizer(module, self.recipe.optimizer)

    def served(self, module: nn.Layer) -> nn.Layer:
        """The embedder."""
        return module.embedder

    def start(self, module: nn.Layer) -> None:
        """See `start_from`."""
        if self.context.init is not None:
            start_from(self.served(module), self.context.init)

    def batches(self, module: nn.Layer, steps: range) -> Generator[LabelledBatch, None, None]:
        """Augmented pictures and their classes."""
        return prefetch(self._make, steps, self.context.threads)

    def losses(
        self, module: nn.Layer, batch: LabelledBatch, step: int, average: MovingAverage
    ) -> dict[str, paddle.Tensor]:
        """Those that the recipe names."""
        losses: dict[str, paddle.Tensor] = module(*as_tensors(batch), step)
        return losses

    def evaluate(self, done: int) -> Evaluated:
        """recall@1 of each eval set."""
        recipe, network = self.recipe, self.eval_model
        if recipe.precise_bn_images and self._pool is not None:
            recompute_bn_statistics(network, self._pool, recipe.deploy_px, recipe.seed, recipe.precise_bn_images)
        embed = embed_with(network, recipe.deploy_px, self._eval_sets.pictures, self.context.threads)
        metrics = self._eval_sets.evaluate(embed, recipe.deploy_px)
        kept = Checkpoint({"embedder": to_arrays(network.state_dict())}, {"step": done, "eval": metrics})
        return Evaluated(metrics, score_of(metrics, recipe.select_by, done), kept)


def as_tensors(batch: LabelledBatch) -> tuple[paddle.Tensor, paddle.Tensor]:
    """What the network takes (B, 3, s, s), and labels (B,)."""
    return paddle.to_tensor(normalize(batch.images)), paddle.to_tensor(batch.labels)


def gather(recipe: MetricRecipe, context: Context) -> tuple[Pictures, Pool | None]:
    """What batches are made of: the pool in the run's folder, made if it is not there, or the photos' files."""
    if not recipe.pool_px:
        return of_files(recipe, context.data, context.prepare, context.threads), None
    folder = context.out / "pool"
    if context.group.rank == 0:
        build_pool(recipe.pictures, context.data, folder, context.prepare, processes=context.threads)
    context.group.wait("pool")
    pool = load_pool(folder)
    return of_pool(pool), pool


def prepare_eval_sets(recipe: MetricRecipe, data: Path | None) -> EvalSets:
    """All eval sets of the recipe; those on photos need `data`, and are read at each evaluation where the recipe has no pool."""
    held = tuple(eval_set for eval_set in recipe.eval if eval_set.kind == "rendered" or recipe.pool_px)
    read = tuple(eval_set for eval_set in recipe.eval if eval_set not in held)
    loaded = load_eval_sets(replace(recipe.pictures, eval=held, select_by=()), data, recipe.deploy_px)
    return EvalSets(tuple(loaded), tuple(photo_eval_sets(read, data)))


def make_optimizer(module: nn.Layer, table: MetricOptimizer) -> paddle.optimizer.Optimizer:
    """Momentum with L2 over all parameters, as PaddleClas has it, or AdamW that spares biases and batch norms."""
    make = momentum if table.kind == "momentum" else adamw
    return make(module, table.learning_rate, table.weight_decay, table.clip_norm)

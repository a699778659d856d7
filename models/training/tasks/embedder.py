"""Train an embedder by its recipe: from class labels, a teacher's targets, known vectors and other embedders' similarities."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

from models.evaluation.eval_sets import evaluate, load_eval_sets
from models.training.data.class_sampling import nearest_classes
from models.training.data.embedder_batches import NEIGHBOURS, Batch, batches
from models.training.data.pool import build_pool, load_pool, require_sources
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.fit import Context
from models.training.engine.inputs import normalize
from models.training.engine.optimizers import adamw
from models.training.engine.processes import ALONE, Group
from models.training.engine.run import Evaluated, score_of
from models.training.engine.schedule import AverageRule, MovingAverage, Schedule, cosine_learning_rate, images_before
from models.training.losses.distillation import cosine_distance_loss, similarity_loss
from models.training.losses.heads import ProxyMargin
from models.training.losses.triplets import triplet_angular_margin_loss
from models.training.networks.embedder import build_embedder, embed_with, start_from
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.reading import RecipeError
from models.training.tasks.precise_bn import recompute_bn_statistics
from models.training.tasks.whitened_start import load_backbone, rate_ratios, start_whitened
from models.training.tasks.whitening import whiten


class EmbedderModule(nn.Layer):
    """The training module: the embedder, a proxy a class, and a map to the known vectors."""

    def __init__(self, recipe: EmbedderRecipe, classes: int, vector_size: int) -> None:
        super().__init__()
        size, table = recipe.network.embedding_size, recipe.loss
        embedder = build_embedder(recipe.network)
        self.head = ProxyMargin(
            size, classes, table.margin, table.scale
        )  # the first of the parameters, as it always was
        self.embedder = embedder
        self.to_vector = nn.Linear(size, vector_size) if vector_size and table.vector_weight else None


def losses_of(
    module: EmbedderModule, recipe: EmbedderRecipe, batch: Batch, step: int, group: Group = ALONE
) -> dict[str, paddle.Tensor]:
    """The weighted parts of the loss at `step`; in a group, their means over its processes are those of the whole batch."""
    table = recipe.loss
    embeddings = F.normalize(module.embedder(paddle.to_tensor(normalize(batch.images))), axis=1)  # (B, D)
    labels = paddle.to_tensor(batch.labels)
    ramp = min(1.0, 0.1 + 0.9 * step / (table.class_ramp * recipe.steps)) if table.class_ramp else 1.0
    logits = module.head(embeddings, labels)
    parts = {"class": ramp * table.class_weight * smoothed_loss(logits, labels, table.smoothing)}
    if batch.targets.shape[1]:
        every = paddle.ones([len(batch.labels)])
        target = paddle.to_tensor(batch.targets)
        parts["distill"] = table.distill_weight * cosine_distance_loss(embeddings, target, every)
    if batch.relations.shape[1] and table.teacher_relation_weight:
        relations, rows = group.gather(paddle.to_tensor(batch.relations)), group.gather(embeddings)
        alike = similarity_loss(rows, relations, paddle.ones([len(relations)]))
        parts["teachers"] = table.teacher_relation_weight * alike
    if batch.vectors.shape[1]:
        # Of the whole batch: not every process's part has as many known vectors.
        known, vectors = (group.gather(paddle.to_tensor(known)) for known in (batch.has_vector, batch.vectors))
        rows = group.gather(embeddings)
        if module.to_vector is not None:
            parts["vector"] = table.vector_weight * cosine_distance_loss(module.to_vector(rows), vectors, known)
        if table.relation_weight:
            parts["relation"] = table.relation_weight * similarity_loss(rows, vectors, known)
    if table.triplet_weight and step >= table.triplet_from * recipe.steps:
        all_rows, all_labels = group.gather(embeddings), group.gather(labels)
        parts["triplet"] = table.triplet_weight * triplet_angular_margin_loss(all_rows, all_labels)
    return parts


def smoothed_loss(logits: paddle.Tensor, labels: paddle.Tensor, smoothing: float) -> paddle.Tensor:
    """Paddle's own cross-entropy; `smoothing` is the fraction of each label that is spread over all classes."""
    if not smoothing:
        return F.cross_entropy(logits, labels)
    return F.cross_entropy(
        logits, F.label_smooth(F.one_hot(labels, logits.shape[1]), epsilon=smoothing), soft_label=True
    )


class EmbedderTask:
    """See models.training.engine.fit.Task. `init` is as in `models.training.networks.embedder.start_from`."""

    def __init__(self, recipe: EmbedderRecipe, context: Context) -> None:
        self.plan, self._context = recipe, context
        data, group = context.data, context.group
        require_equal_sizes(recipe)
        require_sources(recipe, data)
        self.eval_model = build_embedder(recipe.network)
        self._load(self.eval_model)
        self._eval_sets = load_eval_sets(recipe, data, recipe.deploy_px) if group.rank == 0 else []
        if group.rank == 0:
            build_pool(recipe, data, context.out / "pool", context.prepare, processes=context.threads)
        group.wait("pool")
        self._pool = load_pool(context.out / "pool")
        table = recipe.optimizer
        self.schedule = Schedule(
            recipe.seed,
            recipe.steps,
            recipe.evaluate_every,
            lambda step: cosine_learning_rate(step, recipe.steps, table.learning_rate, table.warmup_steps, final=0.01),
            lambda step: images_before(recipe.stages, step),
            AverageRule(table.ema_decay),
        )

    def build(self) -> EmbedderModule:
        """The embedder, and what only training needs."""
        return EmbedderModule(self.plan, self._pool.classes, self._pool.vectors.shape[1])

    def optimizer(self, module: EmbedderModule) -> paddle.optimizer.Optimizer:
        """The recipe's AdamW."""
        return make_optimizer(module, self.plan, self._context.data)

    def served(self, module: EmbedderModule) -> nn.Layer:
        """The embedder."""
        return module.embedder

    def start(self, module: EmbedderModule) -> None:
        """Another run's weights, or pretrained ones with a neck and proxies that are fitted to the pool."""
        recipe, context = self.plan, self._context
        self._load(module.embedder)
        if context.init is None and recipe.network.pretrained and recipe.whitening.sources:
            started = start_whitened(module.embedder, recipe, self._pool, context.threads, context.prepare)
            module.head.weight.set_value(started)

    def batches(self, module: EmbedderModule, steps: range) -> Generator[Batch, None, None]:
        """Augmented views, made by a process of their own."""
        recipe, context, group = self.plan, self._context, self._context.group
        near = context.out / NEIGHBOURS
        if group.rank == 0 and recipe.hard_classes and not near.exists():
            # Once a run, by the proxies that it starts with: a resumed run sees the same neighbours.
            proxies = np.asarray(module.head.weight.numpy(), np.float32)
            np.save(near, nearest_classes(proxies, self._pool.labels, self._pool.sources), allow_pickle=False)
        group.wait("neighbours")
        return batches(recipe, context.out / "pool", steps.start, group.rank, group.size, context.data)

    def losses(
        self, module: EmbedderModule, batch: Batch, step: int, average: MovingAverage
    ) -> dict[str, paddle.Tensor]:
        """See `losses_of`."""
        return losses_of(module, self.plan, batch, step, self._context.group)

    def evaluate(self, done: int) -> Evaluated:
        """recall@1 of each eval set, with batch statistics and whitening that are fitted to the pool."""
        recipe, network, eval_sets = self.plan, self.eval_model, self._eval_sets
        recompute_bn_statistics(network, self._pool, recipe.deploy_px, recipe.seed)
        if recipe.network.whitened:
            whiten(network, self._pool, recipe.deploy_px, recipe.seed)
        pictures = sum(len(eval_set.images) for eval_set in eval_sets)
        metrics = evaluate(embed_with(network, recipe.deploy_px, pictures, self._context.threads), eval_sets)
        kept = Checkpoint({"embedder": to_arrays(network.state_dict())}, {"step": done, "eval": metrics})
        return Evaluated(metrics, score_of(metrics, recipe.select_by, done), kept)

    def _load(self, embedder: nn.Layer) -> None:
        if self._context.init is not None:
            start_from(embedder, self._context.init)
        elif self.plan.network.pretrained:
            load_backbone(embedder, self.plan, self._context.data)


def require_equal_sizes(recipe: EmbedderRecipe) -> None:
    """Raises RecipeError for a teacher whose target has another length than the embedding."""
    target = recipe.teacher.feature_dims + recipe.teacher.colour_dims
    size = recipe.network.embedding_size
    if recipe.teacher.model and target != size:
        raise RecipeError(f"'embedding_size' is {size}, but the teacher's features and colours make {target}")


def make_optimizer(
    module: EmbedderModule, recipe: EmbedderRecipe, data: Path | None = None
) -> paddle.optimizer.Optimizer:
    """The recipe's AdamW over all that learns."""
    table = recipe.optimizer
    ratios = rate_ratios(module.embedder, recipe, data) if recipe.network.pretrained else {}
    ratios[module.head.weight.name] = table.proxy_rate
    return adamw(module, table.learning_rate, table.weight_decay, table.clip_norm, ratios)

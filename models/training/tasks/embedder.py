"""Train an embedder by its recipe: read it in one go, from the network to the last checkpoint."""

from collections.abc import Callable
from contextlib import closing
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
from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.inputs import normalize
from models.training.engine.loop import Progress
from models.training.engine.optimizers import adamw
from models.training.engine.processes import ALONE, Group
from models.training.engine.run import Evaluated, Run, score_of, take_step
from models.training.engine.schedule import MovingAverage, cosine_learning_rate
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.losses import (
    cos_margin_loss,
    cosine_distance_loss,
    relation_loss,
    triplet_angular_margin_loss,
)
from models.training.networks.embedder import build_embedder, embed_with, load_weights
from models.training.recipes.embedder import EmbedderRecipe, RecipeError
from models.training.tasks.precise_bn import settle_statistics
from models.training.tasks.whitened_start import load_backbone, rate_ratios, start_whitened
from models.training.tasks.whitening import whiten


class Student(nn.Layer):
    """The embedder with what only training needs: a proxy a class, and a map to the known vectors."""

    def __init__(self, recipe: EmbedderRecipe, classes: int, vector_size: int) -> None:
        super().__init__()
        size = recipe.network.embedding_size
        self.embedder = build_embedder(recipe.network)
        normal = paddle.ParamAttr(initializer=nn.initializer.Normal(std=0.05))
        self.proxies = self.create_parameter([classes, size], attr=normal)
        self.to_vector = nn.Linear(size, vector_size) if vector_size and recipe.loss.vector_weight else None


def losses_of(
    student: Student, recipe: EmbedderRecipe, batch: Batch, step: int, group: Group = ALONE
) -> dict[str, paddle.Tensor]:
    """The weighted parts of the loss at `step`; in a group, their means over its processes are those of the whole batch."""
    weights = recipe.loss
    features = student.embedder(paddle.to_tensor(normalize(batch.images)))
    embeddings = F.normalize(features, axis=1)  # (B, D)
    labels = paddle.to_tensor(batch.labels)
    grown = min(1.0, 0.1 + 0.9 * step / (weights.class_ramp * recipe.steps)) if weights.class_ramp else 1.0
    parts = {
        "class": grown
        * weights.class_weight
        * cos_margin_loss(embeddings, student.proxies, labels, weights.margin, weights.scale, weights.smoothing)
    }
    if batch.targets.shape[1]:
        every = paddle.ones([len(batch.labels)])
        target = paddle.to_tensor(batch.targets)
        parts["distill"] = weights.distill_weight * cosine_distance_loss(embeddings, target, every)
    if batch.relations.shape[1] and weights.teacher_relation_weight:
        relations, rows = group.gather(paddle.to_tensor(batch.relations)), group.gather(embeddings)
        alike = relation_loss(rows, relations, paddle.ones([len(relations)]))
        parts["teachers"] = weights.teacher_relation_weight * alike
    if batch.vectors.shape[1]:
        # Of the whole batch: not every part has as many to tell.
        known, vectors = (group.gather(paddle.to_tensor(known)) for known in (batch.has_vector, batch.vectors))
        everyone = group.gather(embeddings)
        if student.to_vector is not None:
            guessed = student.to_vector(everyone)
            parts["vector"] = weights.vector_weight * cosine_distance_loss(guessed, vectors, known)
        if weights.relation_weight:
            parts["relation"] = weights.relation_weight * relation_loss(everyone, vectors, known)
    if weights.triplet_weight and step >= weights.triplet_from * recipe.steps:
        all_rows, all_labels = group.gather(embeddings), group.gather(labels)
        parts["triplet"] = weights.triplet_weight * triplet_angular_margin_loss(all_rows, all_labels)
    return parts


def train_embedder(
    recipe: EmbedderRecipe,
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

    A new run starts from the embedder weights of `init` (another run's `best.npz`) if given, else from random ones.

    `data` is the folder that the recipe's photo sources are relative to. `stop_after` ends the run early after that
    many steps in all, as a kill would, but with a checkpoint. Raises TrainingError, DatasetError, ArtifactError.
    """
    keep_freed_memory()
    group = Group.from_environment()
    out.mkdir(parents=True, exist_ok=True)
    # First what may be wrong with weights and eval sets: it is told before pictures are drawn.
    require_equal_sizes(recipe)
    require_sources(recipe, data)
    eval_model = build_embedder(recipe.network)
    if init is not None:
        load_weights(eval_model, init)
    elif recipe.network.pretrained:
        load_backbone(eval_model, recipe, data)
    splits = load_eval_sets(recipe, data, recipe.deploy_px) if group.rank == 0 else []
    if group.rank == 0:
        build_pool(recipe, data, out / "pool", prepare, processes=threads)
    group.wait("pool")
    pool = load_pool(out / "pool")
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        student = Student(recipe, pool.classes, pool.vectors.shape[1])
        optimizer = make_optimizer(student, recipe, data)
    accelerate(student, threads)
    accelerate(eval_model, threads)
    synchronise_norms(student, group)
    if init is not None:
        load_weights(student.embedder, init)
    elif recipe.network.pretrained and not (out / "last.npz").exists():
        load_backbone(student.embedder, recipe, data)
        if recipe.whitening.sources:
            student.proxies.set_value(start_whitened(student.embedder, recipe, pool, threads, prepare))
    average = MovingAverage(student.embedder, recipe.optimizer.ema_decay)
    parts_of_run = {"student": student, "optimizer": optimizer, "average": average}
    run = Run(out, recipe, parts_of_run, group, report, recipe.steps, recipe.evaluate_every, stop_after=stop_after)

    def evaluated(done: int) -> Evaluated:
        eval_model.set_state_dict(average.values)
        settle_statistics(eval_model, pool, recipe.deploy_px, recipe.seed)
        if recipe.network.whitened:
            whiten(eval_model, pool, recipe.deploy_px, recipe.seed)
        pictures = sum(len(split.images) for split in splits)
        metrics = evaluate(embed_with(eval_model, recipe.deploy_px, pictures, threads), splits)
        kept = Checkpoint({"embedder": to_arrays(eval_model.state_dict())}, {"step": done, "eval": metrics})
        return Evaluated(metrics, score_of(metrics, recipe.select_by, done), kept)

    if group.rank == 0 and run.first >= recipe.steps:  # a finished run is evaluated once more, with today's code
        evaluated(run.first).kept.save(out / "best.npz")
    if group.rank == 0 and recipe.hard_classes and not (out / NEIGHBOURS).exists():
        # Once a run, by the proxies that it begins with: a resumed run draws the same.
        centres = np.asarray(student.proxies.numpy(), np.float32)
        np.save(out / NEIGHBOURS, nearest_classes(centres, pool.labels, pool.sources), allow_pickle=False)
    group.wait("neighbours")
    source = batches(recipe, out / "pool", run.first, group.rank, group.size, data)
    with closing(source), paddle.utils.unique_name.guard():
        for step, batch in zip(run.steps, source, strict=False):
            if recipe.network.dropout:  # a resumed run drops the same as an uninterrupted one
                paddle.seed((recipe.seed * group.size + group.rank) * recipe.steps + step)
            table = recipe.optimizer
            optimizer.set_lr(
                cosine_learning_rate(step, recipe.steps, table.learning_rate, table.warmup_steps, final=0.01)
            )
            student.train()
            values = take_step(losses_of(student, recipe, batch, step, group), step, student, optimizer, group)
            average.update(student.embedder, step)
            left = sum(recipe.stage_at(later).batch for later in range(step + 1, run.last))
            run.after(step, values, len(batch.labels) * group.size, left, student, evaluated)
    return out / "best.npz"


def require_equal_sizes(recipe: EmbedderRecipe) -> None:
    """Raises RecipeError for a teacher whose target has another length than the embedding."""
    target = recipe.teacher.feature_dims + recipe.teacher.colour_dims
    if recipe.teacher.model and target != recipe.network.embedding_size:
        told = (
            f"'embedding_size' is {recipe.network.embedding_size}, but the teacher's features and colours make {target}"
        )
        raise RecipeError(told)


def make_optimizer(student: Student, recipe: EmbedderRecipe, data: Path | None = None) -> paddle.optimizer.Optimizer:
    """The recipe's AdamW over all that the student learns."""
    table = recipe.optimizer
    ratios = rate_ratios(student.embedder, recipe, data) if recipe.network.pretrained else {}
    ratios[student.proxies.name] = table.proxy_rate
    return adamw(student, table.learning_rate, table.weight_decay, table.clip_norm, ratios)

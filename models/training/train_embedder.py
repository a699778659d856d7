"""Train an embedder by its recipe: read it in one go, from the network to the last checkpoint."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray
from paddle import nn

from models.errors import ArtifactError
from models.nets.embedding import EmbedderV1, EmbedderV2
from models.training.batches import Batch, batches
from models.training.checkpoint import Checkpoint, to_arrays, to_tensors
from models.training.cpu_convolution import accelerate, keep_freed_memory
from models.training.exams import Sheet, examine, set_exams
from models.training.loop import Progress, RunLog, require_finite, require_numbers, resume_run, save_run
from models.training.losses import cos_margin_loss, cosine_distance_loss, triplet_angular_margin_loss
from models.training.pool import Pool, build_pool, load_pool
from models.training.processes import ALONE, Group
from models.training.recipe import EmbedderNetwork, EmbedderRecipe
from models.training.schedule import MovingAverage, cosine_learning_rate
from models.training.statistics import normalize, settle_statistics
from models.training.synchronised_norm import synchronise_norms
from models.training.whitening import whiten

SAVE_EVERY, REPORT_EVERY = 250, 50  # steps


def build_embedder(network: EmbedderNetwork) -> nn.Layer:
    """The network that a recipe's `[network]` table names."""
    if network.kind == "v1":
        return EmbedderV1(network.width, network.embedding_size, network.dropout)
    return EmbedderV2(
        network.width,
        network.depths,
        embedding_size=network.embedding_size,
        dropout=network.dropout,
        colours=network.colours,
        whitened=network.whitened,
    )


class Student(nn.Layer):
    """The embedder with what only training needs: a proxy a class, and a map to the known vectors."""

    def __init__(self, recipe: EmbedderRecipe, classes: int, vector_size: int) -> None:
        super().__init__()
        size = recipe.network.embedding_size
        self.embedder = build_embedder(recipe.network)
        normal = paddle.ParamAttr(initializer=nn.initializer.Normal(std=0.05))
        self.proxies = self.create_parameter([classes, size], attr=normal)
        self.to_vector = nn.Linear(size, vector_size) if vector_size else None


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
        * cos_margin_loss(embeddings, student.proxies, labels, weights.margin, weights.scale)
    }
    if batch.targets.shape[1]:
        every = paddle.ones([len(batch.labels)])
        target = paddle.to_tensor(batch.targets)
        parts["distill"] = weights.distill_weight * cosine_distance_loss(embeddings, target, every)
    if student.to_vector is not None:
        known, vectors = (group.gather(paddle.to_tensor(known)) for known in (batch.has_vector, batch.vectors))
        guessed = student.to_vector(group.gather(embeddings))  # of the whole batch: not every part has as many to tell
        parts["vector"] = weights.vector_weight * cosine_distance_loss(guessed, vectors, known)
    if weights.triplet_weight and step >= weights.triplet_from * recipe.steps:
        everyone = group.gather(embeddings), group.gather(labels)
        parts["triplet"] = weights.triplet_weight * triplet_angular_margin_loss(*everyone)
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
    if group.rank == 0:
        build_pool(recipe, data, out / "pool", prepare, processes=threads)
    group.wait("pool")
    pool = load_pool(out / "pool")
    paddle.seed(recipe.seed)
    # The optimiser keeps its state by names: the guards give each run the same ones, whatever ran before in this process.
    with paddle.utils.unique_name.guard():
        student = Student(recipe, pool.classes, pool.vectors.shape[1])
        optimizer = make_optimizer(student, recipe)
    accelerate(student, threads)
    synchronise_norms(student, group)
    if init is not None:
        load_weights(student.embedder, init)
    average = MovingAverage(student.embedder, recipe.optimizer.ema_decay)
    parts_of_run = {"student": student, "optimizer": optimizer, "average": average}
    first, best = resume_run(out / "last.npz", recipe, parts_of_run)
    judge = build_embedder(recipe.network)
    accelerate(judge, threads)
    sheets = set_exams(recipe, data, recipe.deploy_px) if group.rank == 0 else []
    last = min(recipe.steps, stop_after or recipe.steps)
    if group.rank == 0 and first >= recipe.steps:  # a finished run is examined once more, with today's code
        keep_best(recipe, average, judge, pool, sheets, first, -1.0, out / "best.npz")
    log = RunLog(out, recipe.steps, first, report) if group.rank == 0 else None
    source = batches(recipe, out / "pool", first, group.rank, group.size)
    with closing(source), paddle.utils.unique_name.guard():
        for step, batch in zip(range(first, last), source, strict=False):
            if recipe.network.dropout:  # a resumed run drops the same as an uninterrupted one
                paddle.seed((recipe.seed * group.size + group.rank) * recipe.steps + step)
            optimizer.set_lr(
                cosine_learning_rate(step, recipe.steps, recipe.optimizer.learning_rate, recipe.optimizer.warmup_steps)
            )
            student.train()
            parts = losses_of(student, recipe, batch, step, group)
            values = group.mean({name: float(part) for name, part in parts.items()})
            require_finite(values, step)
            total = sum(parts.values(), paddle.zeros([]))
            total.backward()
            group.average_gradients(student)
            optimizer.step()
            optimizer.clear_grad()
            average.update(student.embedder, step)
            done = step + 1
            examined = done % recipe.evaluate_every == 0 or done == last
            if log is None:
                if examined:
                    group.wait(f"exam at {done}")
                continue
            log.add(values, len(batch.labels) * group.size)
            if examined or done % REPORT_EVERY == 0:
                require_numbers(student, done)
                speed, exams = log.speed(), None
                if examined:
                    exams, best = keep_best(recipe, average, judge, pool, sheets, done, best, out / "best.npz")
                left = sum(recipe.stage_at(later).batch for later in range(done, last))
                log.tell(done, left, speed, exams)
            if examined:
                group.wait(f"exam at {done}")
            if examined or done % SAVE_EVERY == 0:
                save_run(out / "last.npz", recipe, done, best, parts_of_run)
    return out / "best.npz"


def keep_best(
    recipe: EmbedderRecipe,
    average: MovingAverage,
    judge: nn.Layer,
    pool: Pool,
    sheets: Sequence[Sheet],
    step: int,
    best: float,
    path: Path,
) -> tuple[dict[str, float], float]:
    """Examine the averaged weights, with settled statistics; save them if no earlier ones were better than `best`."""
    judge.set_state_dict(average.values)
    settle_statistics(judge, pool, recipe.deploy_px, recipe.seed)
    if recipe.network.whitened:
        whiten(judge, pool, recipe.deploy_px, recipe.seed)
    exams = examine(embed_with(judge), sheets)
    asked = [exams[name] for name in recipe.select_by if name in exams] or list(exams.values())
    score = float(np.mean(asked)) if asked else float(step)
    if score >= best:
        best = score
        Checkpoint({"embedder": to_arrays(judge.state_dict())}, {"step": step, "exams": exams}).save(path)
    return exams, best


def load_weights(embedder: nn.Layer, path: Path) -> int:
    """Put the weights of a run's `best.npz` into `embedder`; returns the step they are of. Raises ArtifactError."""
    stored = Checkpoint.load(path)
    if "embedder" not in stored.groups:
        raise ArtifactError(f"{path} holds no embedder")
    arrays, own = stored.groups["embedder"], embedder.state_dict()
    odd = sorted(set(arrays) ^ set(own)) or [name for name in own if list(own[name].shape) != list(arrays[name].shape)]
    if odd:
        raise ArtifactError(f"{path} holds another network than the recipe's; they differ in {odd[0]!r}")
    embedder.set_state_dict(to_tensors(arrays))
    return int(stored.progress["step"])


def make_optimizer(student: Student, recipe: EmbedderRecipe) -> paddle.optimizer.Optimizer:
    """AdamW; biases and batch norms are not decayed."""
    decayed = {parameter.name for parameter in student.parameters() if len(parameter.shape) > 1}
    return paddle.optimizer.AdamW(
        recipe.optimizer.learning_rate,
        parameters=[parameter for parameter in student.parameters() if not parameter.stop_gradient],
        weight_decay=recipe.optimizer.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=nn.ClipGradByGlobalNorm(recipe.optimizer.clip_norm),
    )


def embed_with(network: nn.Layer) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """An eager network as a plain function over RGB pictures, in evaluation mode."""
    network.eval()

    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with paddle.no_grad():
            return np.asarray(network(paddle.to_tensor(normalize(images))).numpy(), np.float32)

    return embed

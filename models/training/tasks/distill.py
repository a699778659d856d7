"""Train an embedder by distillation: from a frozen teacher, or side by side with a peer. Reads like train_metric, with two."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.training.data.metric_batches import MetricBatches
from models.training.data.pool import require_sources
from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.inputs import normalize
from models.training.engine.loop import Progress
from models.training.engine.prefetch import ahead
from models.training.engine.processes import ALONE, Group
from models.training.engine.run import Evaluated, Run, take_step
from models.training.engine.schedule import MovingAverage, cosine_learning_rate
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.errors import TrainingError
from models.training.losses.distillation import distance_loss, dml_loss, relation_logits
from models.training.losses.weighted import Outputs
from models.training.networks.metric import MetricEmbedder, TrainingModule
from models.training.recipes.distill import DistillPlan
from models.training.recipes.metric import MetricRecipe
from models.training.tasks.metric import Sheets, evaluate_average, gather, make_optimizer, prepare_eval_sets
from models.training.teachers.frozen import open_teacher


class Pair(nn.Layer):
    """The student, and beside it a peer where the method has one."""

    def __init__(self, plan: DistillPlan, classes: int, group: Group = ALONE) -> None:
        super().__init__()
        self.plan, self.group = plan, group
        self.student = TrainingModule(plan.student, classes, group)
        self.peer = None if plan.peer is None else TrainingModule(plan.peer, classes, group)
        if plan.recipe.method == "udml" and self.peer is not None:
            mine, theirs = self.student.embedder.backbone_size, self.peer.embedder.backbone_size
            if mine != theirs:
                raise TrainingError(
                    f"udml compares features number by number: the student has {mine}, the peer {theirs}"
                )

    def mutual(self, x: paddle.Tensor, labels: paddle.Tensor, step: int) -> dict[str, paddle.Tensor]:
        """DML and UDML: both networks' own losses, and what draws them together."""
        if self.peer is None:
            raise TrainingError("mutual learning needs a peer")
        recipe, outputs = self.plan.recipe, []
        parts: dict[str, paddle.Tensor] = {}
        for name, learner in (("student", self.student), ("peer", self.peer)):
            out = outputs_of(learner, x, labels)
            parts |= {f"{name} {loss}": value for loss, value in learner.losses(out, labels, step).items()}
            outputs.append(out)
        mine, theirs = outputs
        parts["dml"] = recipe.weight * dml_loss(mine.logits, theirs.logits)
        if recipe.method == "udml":
            parts["distance"] = recipe.distance_weight * distance_loss(mine.backbone, theirs.backbone)
        return parts

    def taught(self, x: paddle.Tensor, labels: paddle.Tensor, vectors: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """SSLD: the student's answers drawn towards the teacher's `vectors` (B, V). Labels only shape the batches."""
        recipe, out = self.plan.recipe, outputs_of(self.student, x, labels)
        if recipe.compare == "relations":
            every = (self.group.gather(out.features), self.group.gather(vectors))  # those of all processes
            mine, theirs = (relation_logits(rows, recipe.temperature) for rows in every)
            return {"ssld": recipe.weight * dml_loss(mine, theirs)}
        if out.logits is None or out.logits.shape != vectors.shape:
            raise TrainingError(
                f"the teacher gives {vectors.shape[1]} logits a picture, the student "
                f"{0 if out.logits is None else out.logits.shape[1]}; compare 'relations' instead"
            )
        return {"ssld": recipe.weight * dml_loss(out.logits, vectors)}


def outputs_of(learner: TrainingModule, x: paddle.Tensor, labels: paddle.Tensor) -> Outputs:
    """What the parts of a learner give, before its losses."""
    backbone = learner.embedder.stopped(x)
    features = learner.embedder.neck(backbone)
    return Outputs(backbone, features, None if learner.head is None else learner.head(features, labels))


def train_distill(
    plan: DistillPlan,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Callable[[str, int, int], None],
    *,
    threads: int = 1,
    stop_after: int | None = None,
) -> Path:
    """Run `plan` to its end, or go on where `out/last.npz` stands. Returns `out/best.npz`, the student alone.

    It is a run of the student's recipe: `shitu export metric` takes it. `data` is the folder that photos and teacher are
    relative to. Raises TrainingError, RecipeError, DatasetError, ArtifactError, EngineError.
    """
    keep_freed_memory()
    group, recipe = Group.from_environment(), plan.student
    out.mkdir(parents=True, exist_ok=True)
    paddle.seed(recipe.seed)
    eval_model = MetricEmbedder(recipe)
    logits = plan.recipe.compare == "logits"
    table = plan.recipe.teacher
    teach = None if table is None else open_teacher(table, data, logits=logits, threads=threads)
    require_sources(recipe.pictures, data)
    sheets = prepare_eval_sets(recipe, data) if group.rank == 0 else Sheets()
    pictures, pool = gather(recipe, data, out / "pool", prepare, group, threads)
    make = MetricBatches(recipe, pictures, group.rank, group.size)
    paddle.seed(recipe.seed)
    with paddle.utils.unique_name.guard():
        pair = Pair(plan, pictures.classes, group)
        optimizer = make_optimizer(pair, recipe.optimizer)
    accelerate(pair, threads)
    accelerate(eval_model, threads)
    synchronise_norms(pair, group)
    average = MovingAverage(pair.student.embedder, recipe.optimizer.ema_decay)
    parts_of_run = {"pair": pair, "optimizer": optimizer, "average": average}
    run = Run(out, plan, parts_of_run, group, report, recipe.steps, recipe.evaluate_every, stop_after=stop_after)

    def evaluated(done: int) -> Evaluated:
        return evaluate_average(recipe, average, eval_model, pool, sheets, done, threads)

    with closing(ahead(make, run.steps, threads)) as source, paddle.utils.unique_name.guard():
        for step, batch in zip(run.steps, source, strict=True):
            if dropped(plan):  # a resumed run drops the same as an uninterrupted one
                paddle.seed((recipe.seed * group.size + group.rank) * recipe.steps + step)
            optimizer.set_lr(
                cosine_learning_rate(step, recipe.steps, recipe.optimizer.learning_rate, recipe.optimizer.warmup_steps)
            )
            pair.train()
            x, labels = paddle.to_tensor(normalize(batch.images)), paddle.to_tensor(batch.labels)
            if teach is None:
                parts = pair.mutual(x, labels, step)
            else:
                parts = pair.taught(x, labels, paddle.to_tensor(_finite(teach(batch.images))))
            values = take_step(parts, step, pair, optimizer, group)
            average.update(pair.student.embedder, step)
            left = recipe.pictures_before(run.last) - recipe.pictures_before(step + 1)
            run.after(step, values, len(batch.labels) * group.size, left, pair, evaluated)
    return out / "best.npz"


def dropped(plan: DistillPlan) -> bool:
    """Whether some network of the plan drops features at random."""
    networks: tuple[MetricRecipe | None, ...] = (plan.student, plan.peer)
    return any(network is not None and network.backbone.dropout > 0 for network in networks)


def _finite(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raises TrainingError for a teacher that answers no numbers."""
    if not np.isfinite(vectors).all():
        raise TrainingError("the teacher answers NaN or infinity")
    return vectors

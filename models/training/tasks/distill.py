"""Train an embedder by distillation: the student's metric recipe, with a frozen teacher or a peer."""

import paddle
from paddle import nn

from models.training.data.metric_batches import LabelledBatch
from models.training.engine.fit import Context
from models.training.engine.processes import ALONE, Group
from models.training.engine.schedule import MovingAverage
from models.training.errors import TrainingError
from models.training.losses.distillation import distance_loss, dml_loss, relation_logits
from models.training.networks.embedder import start_from
from models.training.networks.metric import MetricModule
from models.training.recipes.distill import DistillPlan
from models.training.tasks.metric import MetricTask, as_tensors
from models.training.teachers.frozen import open_teacher


class DistillModule(nn.Layer):
    """The training module: the student, and a peer where the method has one."""

    def __init__(self, plan: DistillPlan, classes: int, group: Group = ALONE) -> None:
        super().__init__()
        self.plan, self.group = plan, group
        self.student = MetricModule(plan.student, classes, group)
        self.peer = None if plan.peer is None else MetricModule(plan.peer, classes, group)
        if plan.recipe.method == "udml" and self.peer is not None:
            own, other = self.student.embedder.backbone_size, self.peer.embedder.backbone_size
            if own != other:
                raise TrainingError(
                    f"udml compares features dimension by dimension: the student has {own}, the peer {other}"
                )

    @property
    def embedder(self) -> nn.Layer:
        """The student's, which is served."""
        return self.student.embedder

    def mutual_losses(self, x: paddle.Tensor, labels: paddle.Tensor, step: int) -> dict[str, paddle.Tensor]:
        """DML and UDML: both networks' own losses, and what draws them together."""
        if self.peer is None:
            raise TrainingError("mutual learning needs a peer")
        recipe, outputs = self.plan.recipe, []
        losses: dict[str, paddle.Tensor] = {}
        for name, module in (("student", self.student), ("peer", self.peer)):
            out = module.outputs(x, labels)
            losses |= {f"{name} {loss}": value for loss, value in module.losses(out, labels, step).items()}
            outputs.append(out)
        student, peer = outputs
        losses["dml"] = recipe.weight * dml_loss(student.logits, peer.logits)
        if recipe.method == "udml":
            losses["distance"] = recipe.distance_weight * distance_loss(student.backbone, peer.backbone)
        return losses

    def teacher_losses(
        self, x: paddle.Tensor, labels: paddle.Tensor, vectors: paddle.Tensor
    ) -> dict[str, paddle.Tensor]:
        """SSLD: the student's answers match the teacher's `vectors` (B, V). Labels only shape the batches."""
        recipe, out = self.plan.recipe, self.student.outputs(x, labels)
        if recipe.compare == "relations":
            every = (self.group.gather(out.features), self.group.gather(vectors))  # those of all processes
            student, teacher = (relation_logits(rows, recipe.temperature) for rows in every)
            return {"ssld": recipe.weight * dml_loss(student, teacher)}
        if out.logits is None or out.logits.shape != vectors.shape:
            raise TrainingError(
                f"the teacher gives {vectors.shape[1]} logits a picture, the student "
                f"{0 if out.logits is None else out.logits.shape[1]}; compare 'relations' instead"
            )
        return {"ssld": recipe.weight * dml_loss(out.logits, vectors)}


class DistillTask(MetricTask):
    """A MetricTask of the student's recipe whose losses are the plan's; `shitu export metric` takes its runs."""

    def __init__(self, plan: DistillPlan, context: Context) -> None:
        table, logits = plan.recipe.teacher, plan.recipe.compare == "logits"
        self._teacher = (
            None if table is None else open_teacher(table, context.data, logits=logits, threads=context.threads)
        )
        super().__init__(plan.student, context)
        self.plan = plan

    def build(self) -> DistillModule:
        """Student and peer."""
        return DistillModule(self.plan, self.pictures.classes, self.context.group)

    def start(self, module: DistillModule) -> None:
        """`init` into the student, and into a peer of the same recipe."""
        super().start(module)
        if self.context.init is not None and module.peer is not None and self.plan.peer == self.plan.student:
            start_from(module.peer.embedder, self.context.init)

    def losses(
        self, module: DistillModule, batch: LabelledBatch, step: int, average: MovingAverage
    ) -> dict[str, paddle.Tensor]:
        """From the teacher, or from the peer and labels."""
        x, labels = as_tensors(batch)
        if self._teacher is None:
            return module.mutual_losses(x, labels, step)
        return module.teacher_losses(x, labels, paddle.to_tensor(self._teacher(batch.images)))

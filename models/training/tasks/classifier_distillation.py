"""What a classifier learns from: labels, a frozen teacher's answers (SSLD), or a peer that learns with it (DML, UDML)."""

from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.nets.named import build
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD
from models.training.data.class_batches import ClassBatch
from models.training.errors import TrainingError
from models.training.losses.cross_entropy import cross_entropy
from models.training.losses.distillation import distance_loss, dml_loss
from models.training.recipes.classifier import ClassDistill, ClassifierRecipe
from models.training.teachers.frozen import VectorTeacher, open_teacher


class ClassifierModule(nn.Layer):
    """The training module: a batch -> the losses by name. It holds the student, and a peer where the recipe has one.

    `ssld` (Cui et al., arXiv:2103.05959) needs no labels: the student matches a frozen teacher's logits. `dml`
    (Zhang et al., arXiv:1706.00384): two networks learn from labels and from each other's logits; `udml`: and from each
    other's features, those before the last layer.
    """

    def __init__(self, recipe: ClassifierRecipe, classes: int, teacher: VectorTeacher | None = None) -> None:
        super().__init__()
        self.table, self.smoothing, self.teacher = recipe.distill, recipe.smoothing, teacher
        self.student = build(recipe.network, classes)
        self.peer = None
        if self.table is not None and teacher is None:
            self.peer = build(self.table.peer or recipe.network, classes)

    def forward(self, batch: ClassBatch) -> dict[str, paddle.Tensor]:
        student, x = self.student, paddle.to_tensor(batch.pixels)
        if self.table is None:
            return {"ce": labelled_loss(student(x), batch, self.smoothing)}
        if self.teacher is not None:
            logits, vectors = student(x), self.teacher(as_pictures(batch.pixels))
            return {"ssld": self.table.weight * dml_loss(logits, paddle.to_tensor(vectors))}
        (own, features), (theirs, others) = with_features(student, x), with_features(self.peer, x)
        losses = {
            "ce": labelled_loss(own, batch, self.smoothing),
            "peer ce": labelled_loss(theirs, batch, self.smoothing),
            "dml": self.table.weight * dml_loss(own, theirs),
        }
        if self.table.method == "udml":
            if features.shape != others.shape:
                raise TrainingError(
                    f"udml compares features dimension by dimension: the student has {features.shape[1]}, the peer "
                    f"{others.shape[1]}"
                )
            losses["distance"] = self.table.distance_weight * distance_loss(features, others)
        return losses


def open_class_teacher(
    table: ClassDistill | None, classes: int, data: Path | None, threads: int = 1
) -> VectorTeacher | None:
    """The recipe's frozen teacher, if it has one. Raises TrainingError for one of other classes, ArtifactError, EngineError."""
    if table is None or table.teacher is None:
        return None
    teacher = open_teacher(table.teacher, data, logits=True, threads=threads)
    if teacher.dims != classes:
        raise TrainingError(
            f"the teacher {table.teacher.model} gives {teacher.dims} logits a picture, the data "
            f"have {classes} classes: it must know the same ones"
        )
    return teacher


def labelled_loss(logits: paddle.Tensor, batch: ClassBatch, smoothing: float) -> paddle.Tensor:
    """Cross-entropy over the batch; of mixed pictures, that of either class by its weight."""
    loss = batch.own * cross_entropy(logits, paddle.to_tensor(batch.labels), smoothing)
    if batch.own < 1.0:
        loss = loss + (1.0 - batch.own) * cross_entropy(logits, paddle.to_tensor(batch.others), smoothing)
    return loss


def with_features(network: nn.Layer, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
    """A classifier's logits (B, C), and what its last layer `fc` saw (B, F)."""
    seen: list[paddle.Tensor] = []
    hook = network.fc.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    try:
        logits = network(x)
    finally:
        hook.remove()
    return logits, seen[0]


def as_pictures(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(B, 3, H, W) as the student sees them -> (B, H, W, 3) RGB, which a teacher prepares in its own way."""
    rgb = pixels.transpose(0, 2, 3, 1) * np.array(IMAGENET_STD, np.float32) + np.array(IMAGENET_MEAN, np.float32)
    return np.clip(np.rint(rgb * 255.0), 0, 255).astype(np.uint8)

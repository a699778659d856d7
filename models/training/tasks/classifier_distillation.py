"""What a classifier learns from: labels, a frozen teacher's answers (SSLD), or a peer that learns beside it (DML, UDML)."""

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
from models.training.recipes.classifier import ClassifierRecipe
from models.training.teachers.frozen import open_teacher


class TeacherTargets(nn.Layer):
    """The losses of a step, by name. Its parameters are the peer's, where the recipe has one.

    `ssld` (Cui et al., arXiv:2103.05959) asks no labels: the student is drawn towards a frozen teacher's logits. `dml`
    (Zhang et al., arXiv:1706.00384): two networks learn from labels and from each other's logits; `udml`: and from each
    other's features, those before the last layer.
    """

    def __init__(self, recipe: ClassifierRecipe, classes: int, data: Path | None, threads: int = 1) -> None:
        """Raises ArtifactError, EngineError for a teacher that can't be run, TrainingError for one of other classes."""
        super().__init__()
        self.table, self.smoothing = recipe.distill, recipe.smoothing
        self.teach, self.peer = None, None
        if self.table is None:
            return
        if self.table.teacher is not None:
            self.teach = open_teacher(self.table.teacher, data, logits=True, threads=threads)
            if self.teach.dim != classes:
                raise TrainingError(
                    f"the teacher {self.table.teacher.model} answers {self.teach.dim} numbers a picture, the data "
                    f"have {classes} classes: it must know the same ones"
                )
        else:
            self.peer = build(self.table.peer or recipe.network, classes)

    def forward(self, student: nn.Layer, batch: ClassBatch) -> dict[str, paddle.Tensor]:
        x = paddle.to_tensor(batch.pixels)
        if self.table is None:
            return {"ce": labelled_loss(student(x), batch, self.smoothing)}
        if self.teach is not None:
            logits = student(x)
            vectors = self.teach(as_pictures(batch.pixels))
            if not np.isfinite(vectors).all():
                raise TrainingError("the teacher answers NaN or infinity")
            return {"ssld": self.table.weight * dml_loss(logits, paddle.to_tensor(vectors))}
        (mine, features), (theirs, others) = with_features(student, x), with_features(self.peer, x)
        parts = {
            "ce": labelled_loss(mine, batch, self.smoothing),
            "peer ce": labelled_loss(theirs, batch, self.smoothing),
            "dml": self.table.weight * dml_loss(mine, theirs),
        }
        if self.table.method == "udml":
            if features.shape != others.shape:
                raise TrainingError(
                    f"udml compares features number by number: the student has {features.shape[1]}, the peer "
                    f"{others.shape[1]}"
                )
            parts["distance"] = self.table.distance_weight * distance_loss(features, others)
        return parts


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

"""What draws a detector's heads to a teacher's, cell by cell.

Localisation distillation: Zheng et al., "Localization Distillation for Dense Object Detection", arXiv:2102.12252: the
teacher's distributions of distances, softened, say more than a box. Scores: quality focal loss (Li et al.,
arXiv:2006.04388) with the teacher's score as its target.
"""

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray

from models.training.losses.detection import Average
from models.training.recipes.detector_tables import Distillation


def score_distillation(logits: paddle.Tensor, teacher: paddle.Tensor) -> paddle.Tensor:
    """(N, M) logits and a teacher's scores -> the sum of |teacher - p|^2 times their cross-entropy, over all cells."""
    away = (teacher - F.sigmoid(logits)).square()
    return (away * F.binary_cross_entropy_with_logits(logits, teacher, reduction="none")).sum()


def localisation_distillation(bins: paddle.Tensor, teacher_bins: paddle.Tensor, temperature: float) -> paddle.Tensor:
    """(P, 4K) logits, the student's and the teacher's -> (P,): KL divergence of the softened sides, mean over the four.

    Times the temperature squared, so that the gradient's size does not depend on it (Hinton et al., arXiv:1503.02531).
    """
    sides = [x.reshape([x.shape[0], 4, -1]) / temperature for x in (bins, teacher_bins)]
    student, teacher = (F.log_softmax(x, axis=2) for x in sides)
    divergence = (teacher.exp() * (teacher - student)).sum(axis=2)
    return divergence.mean(axis=1) * temperature**2


def distillation_losses(
    logits: paddle.Tensor,
    bins: paddle.Tensor,
    teacher_scores: NDArray[np.float32],
    teacher_bins: NDArray[np.float32],
    table: Distillation,
    average: Average = dict,
) -> dict[str, paddle.Tensor]:
    """The weighted parts for (N, M) logits and (N, M, 4K) bins; a box counts as much as the teacher is sure of it.

    `average` is as in models.training.losses.detection.
    """
    scores = paddle.to_tensor(teacher_scores)
    total = max(1.0, average({"scores": float(teacher_scores.sum())})["scores"])
    count = bins.shape[2]
    each = localisation_distillation(
        bins.reshape([-1, count]), paddle.to_tensor(teacher_bins.reshape(-1, count)), table.temperature
    )
    return {
        "distilled scores": table.score_weight * score_distillation(logits, scores) / total,
        "distilled distances": table.distribution_weight * (each * scores.flatten()).sum() / total,
    }

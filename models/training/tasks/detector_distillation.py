"""A detector that learns from another's answers on the same pictures, cell by cell; or from its own moving average.

Localisation distillation: Zheng et al., "Localization Distillation for Dense Object Detection", arXiv:2102.12252: the
teacher's distributions of distances, softened, tell more than a box. Scores: quality focal loss (Li et al.,
arXiv:2006.04388) with the teacher's score as its target. Where cells don't match, a teacher's boxes still do: see
models.training.teachers.pseudo_boxes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest, resolve
from models.artifacts.manifest import DetectionOutput
from models.engines.loader import load_program
from models.errors import ArtifactError
from models.nets.names import STRIDES
from models.pictures.image import normalize
from models.training.losses.detection import Average
from models.training.recipes.detector_tables import Distillation

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """A teacher's heads for N images, level by level, row by row."""

    scores: Array  # (N, M) in 0 .. 1
    bins: Array  # (N, M, 4K) logits


Teacher = Callable[[NDArray[np.uint8]], Answers]  # (N, s, s, 3) RGB


class ProgramTeacher:
    """An exported detector as a teacher, at the one input size of its program."""

    def __init__(self, folder: Path, sizes_px: Sequence[int], reg_max: int, threads: int = 1) -> None:
        """Raises ArtifactError for a program whose cells are not the student's; EngineError."""
        manifest = load_manifest(folder)
        output, self._input = manifest.output, manifest.input
        if not isinstance(output, DetectionOutput):
            raise ArtifactError(f"the teacher {manifest.name} is no detector")
        own = (tuple(head.stride for head in output.heads), output.reg_max, self._input.height, self._input.width)
        for size in sizes_px:
            if own != (STRIDES, reg_max, size, size):
                raise ArtifactError(
                    f"the teacher {manifest.name} has strides {own[0]}, reg_max {own[1]} and an input of {own[2]} x {own[3]}"
                    f" pixels, the recipe {STRIDES}, {reg_max} and {size}: their cells don't match."
                    " Teach by its boxes instead, with a source of kind 'photos'"
                )
        self._heads = output.heads
        names = [name for head in output.heads for name in (head.scores, head.distances)]
        self._program = load_program(folder, threads=threads, outputs=names if manifest.official else ())

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        """Its heads; one image at a time, as detectors are exported."""
        scores, bins = [], []
        for image in images:
            out = self._program.run({self._input.name: normalize(image, self._input.mean, self._input.std)[None]})
            scores.append(np.concatenate([out[head.scores].reshape(-1) for head in self._heads]))
            levels = [out[head.distances][0] for head in self._heads]  # (4K, H, W)
            bins.append(np.concatenate([level.reshape(level.shape[0], -1).T for level in levels]))
        return Answers(np.stack(scores).astype(np.float32), np.stack(bins).astype(np.float32))


def open_program_teacher(
    plan: Distillation, data: Path | None, sizes_px: Sequence[int], reg_max: int, threads: int = 1
) -> ProgramTeacher:
    """The recipe's teacher: below the data folder, or else a model of that name. Raises ArtifactError, EngineError."""
    inside = data / plan.teacher if data is not None else None
    folder = inside if inside is not None and inside.is_dir() else resolve(plan.teacher)
    return ProgramTeacher(folder, sizes_px, reg_max, threads)


def score_distillation(logits: paddle.Tensor, taught: paddle.Tensor) -> paddle.Tensor:
    """(N, M) logits and a teacher's scores -> the sum of |taught - p|^2 times their cross-entropy, over all cells."""
    away = (taught - F.sigmoid(logits)).square()
    return (away * F.binary_cross_entropy_with_logits(logits, taught, reduction="none")).sum()


def localisation_distillation(bins: paddle.Tensor, taught: paddle.Tensor, temperature: float) -> paddle.Tensor:
    """(P, 4K) logits, the student's and the teacher's -> (P,): KL divergence of the softened sides, mean over the four.

    Times the temperature squared, so that the gradient's size does not depend on it (Hinton et al., arXiv:1503.02531).
    """
    sides = [x.reshape([x.shape[0], 4, -1]) / temperature for x in (bins, taught)]
    student, teacher = (F.log_softmax(x, axis=2) for x in sides)
    divergence = (teacher.exp() * (teacher - student)).sum(axis=2)
    return divergence.mean(axis=1) * temperature**2


def distillation_losses(
    logits: paddle.Tensor,
    bins: paddle.Tensor,
    taught: Answers,
    plan: Distillation,
    average: Average = dict,
) -> dict[str, paddle.Tensor]:
    """The weighted parts for (N, M) logits and (N, M, 4K) bins; boxes count where, and as much as, the teacher sees bodies.

    `average` is as in models.training.losses.detection.
    """
    scores = paddle.to_tensor(taught.scores)
    total = max(1.0, average({"taught": float(taught.scores.sum())})["taught"])
    count = bins.shape[2]
    each = localisation_distillation(
        bins.reshape([-1, count]), paddle.to_tensor(taught.bins.reshape(-1, count)), plan.temperature
    )
    return {
        "taught scores": plan.score_weight * score_distillation(logits, scores) / total,
        "taught distances": plan.distribution_weight * (each * scores.flatten()).sum() / total,
    }

"""A detector as a teacher, cell by cell. Where cells don't match, a teacher's boxes still do: see `pseudo_boxes`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest, resolve
from models.artifacts.manifest import DetectionOutput
from models.engines.loader import load_program
from models.errors import ArtifactError
from models.nets.names import STRIDES
from models.pictures.image import normalize
from models.training.recipes.detector_tables import Distillation

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Heads:
    """A teacher's heads for N images, level by level, row by row."""

    scores: Array  # (N, M) in 0 .. 1
    bins: Array  # (N, M, 4K) logits


class HeadsTeacher:
    """A Teacher[Heads]: an exported detector, at the one input size of its program."""

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
                    " Use its boxes instead, with a source of kind 'photos'"
                )
        self._heads = output.heads
        names = [name for head in output.heads for name in (head.scores, head.distances)]
        self._program = load_program(folder, threads=threads, outputs=names if manifest.official else ())

    def __call__(self, images: NDArray[np.uint8]) -> Heads:
        """Its heads; one image at a time, as detectors are exported."""
        scores, bins = [], []
        for image in images:
            out = self._program.run({self._input.name: normalize(image, self._input.mean, self._input.std)[None]})
            scores.append(np.concatenate([out[head.scores].reshape(-1) for head in self._heads]))
            levels = [out[head.distances][0] for head in self._heads]  # (4K, H, W)
            bins.append(np.concatenate([level.reshape(level.shape[0], -1).T for level in levels]))
        return Heads(np.stack(scores).astype(np.float32), np.stack(bins).astype(np.float32))


def open_heads_teacher(
    table: Distillation, data: Path | None, sizes_px: Sequence[int], reg_max: int, threads: int = 1
) -> HeadsTeacher:
    """The recipe's teacher: below the data folder, or else a model of that name. Raises ArtifactError, EngineError."""
    inside = data / table.teacher if data is not None else None
    folder = inside if inside is not None and inside.is_dir() else resolve(table.teacher)
    return HeadsTeacher(folder, sizes_px, reg_max, threads)

"""Embedders as teachers: they look at the very views that the student is given, at their own input size.

The first one's embeddings are targets for the student's own. All of them together measure how alike two views are: their
unit embeddings side by side, each scaled by the root of its weight, so that inner products are weighted means of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import bundled
from models.embedder import Embedder
from models.training.recipes.pictures import EmbedderTeacher, PictureSources
from models.training.recipes.reading import RecipeError


@dataclass(frozen=True)
class Targets:
    """What the teachers say of B views."""

    targets: NDArray[np.float32]  # (B, D) unit rows of the first teacher
    together: NDArray[np.float32]  # (B, R) unit rows of all


class EmbedderTeachers:
    """The loaded teachers of a recipe. Raises ArtifactError, EngineError, and RecipeError where sizes differ."""

    def __init__(self, recipe: PictureSources, data: Path | None) -> None:
        self._weights = [teacher.weight for teacher in recipe.teachers]
        self._embedders = [Embedder(locate(teacher, data), precision="fp32") for teacher in recipe.teachers]
        wanted, given = recipe.embedding_size, self._embedders[0].dim
        if wanted != given:
            raise RecipeError(f"'embedding_size' is {wanted}, but the first of 'teachers' has {given} dimensions")
        self.size_px = max(embedder.manifest.input.height for embedder in self._embedders)

    def __call__(self, views: Sequence[NDArray[np.uint8]]) -> Targets:
        """(B, s, s, 3) RGB views, best of `size_px` at least."""
        rows = [embedder(views) for embedder in self._embedders]
        total = sum(self._weights)
        scaled = [np.sqrt(weight / total) * some for weight, some in zip(self._weights, rows, strict=True)]
        return Targets(rows[0], np.asarray(np.concatenate(scaled, axis=1), np.float32))


def locate(teacher: EmbedderTeacher, data: Path | None) -> Path:
    """The folder of a teacher's artifact. Raises ArtifactError when it is opened, if there is none."""
    return bundled().get(teacher.artifact) or (data or Path()) / teacher.artifact

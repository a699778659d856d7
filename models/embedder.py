"""Turns crops into unit vectors whose inner product gives how alike two things look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.artifact_model import ArtifactModel
from models.artifacts.folders import load_manifest
from models.artifacts.manifest import UNKNOWNS, EmbeddingOutput, HashOutput
from models.engines.loader import program_of
from models.engines.pixels import BATCH
from models.errors import ArtifactError, EngineError, GalleryError
from models.galleries.calibration import Calibration, from_threshold
from models.pictures.image import resize
from models.pictures.inputs import as_image, as_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from models.engines.program import Array
    from models.pictures.inputs import Picture

DEFAULT_SIMILARITY = 0.5  # `score_thres` of the PP-ShiTuV1 configuration
EPSILON = 1e-12


@dataclass(frozen=True)
class Identity:
    """What is known of an embedder before it is loaded: `digest` is that of its embeddings, `files` are its program's."""

    name: str
    digest: str
    files: tuple[Path, ...]


def identity_of(folder: Path | str, engine: str = "auto", precision: str = "auto") -> Identity:
    """The embedder that `Embedder` would load from `folder`. Raises ArtifactError, EngineError as it does for what is not there."""
    manifest = load_manifest(folder)
    if not isinstance(manifest.output, EmbeddingOutput | HashOutput):
        raise ArtifactError(f"{manifest.name} is no embedder but made to {manifest.task}.")
    manifest.require(precision)
    chosen, files = program_of(Path(folder), engine, precision)
    return Identity(manifest.name, manifest.digest_of(chosen), files)


class Embedder(ArtifactModel):
    """An embedder artifact or an official archive, loaded into an engine. A network for binary codes gives the values before they are binarised.

    `calibration` gives how sure answers are, `unknowns` (U, D) are unit embeddings of unrelated pictures, both as they came
    with the artifact.
    """

    def __init__(self, folder: Path | str, engine: str = "auto", threads: int = 1, precision: str = "auto") -> None:
        """Raises ArtifactError, EngineError."""
        manifest = load_manifest(folder)
        output = manifest.output
        if not isinstance(output, EmbeddingOutput | HashOutput):
            raise ArtifactError(f"{manifest.name} is no embedder but made to {manifest.task}.")
        super().__init__(folder, manifest, engine, threads, precision, outputs=[output.name])
        self._output = output
        self.calibration: Calibration = self._calibration()
        self.unknowns: Array = self._unknowns(Path(folder))

    @property
    def dim(self) -> int:
        """The length of an embedding."""
        return self._output.dim

    @property
    def similarity_threshold(self) -> float:
        """The least similarity of a recognition that the manifest advises; PP-ShiTu's own without such advice."""
        return self.manifest.thresholds.get("similarity", DEFAULT_SIMILARITY)

    def __call__(self, crops: Iterable[Picture]) -> Array:
        """(H, W, 3) RGB crops of any sizes -> (N, D) unit float32; no crops give (0, D).

        A crop may be whatever `models.pictures.inputs.as_image` takes. Raises ImageError; EngineError: embedding_invalid for an answer that is NaN or infinite, and what the program raises.
        """
        rows = [np.zeros((0, self.dim), np.float32)]
        pictures = as_images(crops)
        for start in range(0, len(pictures), BATCH):
            batch = enumerate(pictures[start : start + BATCH], start)
            rows.append(self._embed([as_image(picture, f"Picture {at} of the list") for at, picture in batch]))
        return np.concatenate(rows)

    def _calibration(self) -> Calibration:
        """How sure answers are in galleries without their own fit; without one here, what the threshold says."""
        if not self.manifest.calibration:
            return from_threshold(self.similarity_threshold)
        try:
            return Calibration.from_dict(self.manifest.calibration)
        except GalleryError as error:
            raise ArtifactError(f"{self.manifest.name}: {error.detail}") from error

    def _unknowns(self, folder: Path) -> Array:
        """(U, D) unit float32 of unrelated pictures, queries that have no right answer; (0, D) where none are bundled."""
        if UNKNOWNS not in self.manifest.files:
            return np.zeros((0, self.dim), np.float32)
        try:
            rows = np.load(folder / UNKNOWNS, allow_pickle=False).astype(np.float32)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{self.manifest.name}: {UNKNOWNS} can't be read.", "artifact_incomplete") from error
        if rows.ndim != 2 or rows.shape[1] != self.dim or not np.isfinite(rows).all():
            raise ArtifactError(f"{self.manifest.name}: {UNKNOWNS} is not made of embeddings of {self.dim} dimensions.")
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), EPSILON), np.float32)

    def _embed(self, crops: Sequence[NDArray[np.uint8]]) -> Array:
        spec = self.manifest.input
        pixels = [resize(crop, spec.height, spec.width, spec.interpolation) for crop in crops]
        features = self._program.run(pixels)[self._output.name].reshape(len(crops), -1).astype(np.float64)
        if features.shape[1] != self.dim or not np.isfinite(features).all():
            raise EngineError(
                "The embedder's answer is NaN or infinite, or of another length than expected.", "embedding_invalid"
            )
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        return np.asarray(features / np.maximum(norms, EPSILON), np.float32)

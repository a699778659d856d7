"""A frozen teacher: whatever the engine runs, from pictures to the vectors that a student learns from."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest, resolve
from models.artifacts.official import sha256_of
from models.engines.loader import load_program
from models.pictures.image import normalize, resize
from models.training.errors import TrainingError
from models.training.recipes.distill import FrozenTeacher
from models.training.teachers.features import PooledFeatures
from models.training.teachers.teacher import Teacher

Vectors = Teacher[NDArray[np.float32]]  # (B, s, s, 3) RGB -> (B, V)
LEAST = 1e-9  # of a probability, before its logarithm
TRIAL_PX = 32


class VectorTeacher:
    """A Teacher of vectors: (B, s, s, 3) RGB pictures of any size -> (B, `dims`); see `open_teacher`."""

    def __init__(self, run: Vectors, logits: bool) -> None:
        """Tries it with a grey picture. Raises ArtifactError, EngineError where it fails."""
        self._run, self._logits = run, logits
        self.dims = run(np.full((1, TRIAL_PX, TRIAL_PX, 3), 128, np.uint8)).shape[1]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raises TrainingError for an answer that is NaN or infinite."""
        vectors = self._run(images)
        if not np.isfinite(vectors).all():
            raise TrainingError("the teacher answers NaN or infinity")
        if self._logits and (vectors >= 0).all() and np.allclose(vectors.sum(axis=1), 1.0, atol=1e-3):
            return np.log(np.maximum(vectors, np.float32(LEAST)))
        return vectors


def open_teacher(table: FrozenTeacher, data: Path | None, *, logits: bool, threads: int = 1) -> VectorTeacher:
    """The teacher of a recipe, tried once.

    A folder's pictures are prepared as its manifest says and a file's as the recipe says; the first output is taken, or
    what a file has before the layer that the recipe names. With `logits`, probabilities are turned into their logarithms,
    which softmax turns back. Raises ArtifactError, EngineError.
    """
    path = find_teacher(table, data)
    if path.is_dir():
        return VectorTeacher(_of_folder(path, threads), logits)
    features = PooledFeatures(path, table.file, threads, normalized=table.normalized)
    return VectorTeacher(lambda images: np.stack([features(image) for image in images]), logits)


def find_teacher(table: FrozenTeacher, data: Path | None) -> Path:
    """`model` is a path relative to `data` or to here, or the name of a bundled or pulled model. Raises ArtifactError."""
    path = next((p for p in ((data or Path()) / table.model, Path(table.model)) if p.exists()), None)
    return resolve(table.model) if path is None else path


def describe_teacher(table: FrozenTeacher, data: Path | None) -> dict[str, Any]:
    """Which network it is: an artifact's name, digest and licence if it has one, or the SHA-256 of a file and of the weights next to it.

    Raises ArtifactError.
    """
    path = find_teacher(table, data)
    if path.is_dir():
        manifest = load_manifest(path)
        licence = {"licence": manifest.licence} if manifest.licence else {}
        return {"name": manifest.name, "digest": manifest.digest} | licence
    weights = path.with_suffix(".bin")
    files = [path, weights] if path.suffix == ".xml" and weights.is_file() else [path]
    return {"name": path.name, "files": {file.name: sha256_of(file) for file in files}}


def _of_folder(folder: Path, threads: int) -> Vectors:
    spec = load_manifest(folder).input
    program = load_program(folder, threads=threads)
    output = program.outputs[0].name

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.stack(
            [
                normalize(resize(image, spec.height, spec.width, spec.interpolation), spec.mean, spec.std)
                for image in images
            ]
        )
        return program.run({spec.name: pixels})[output].reshape(len(images), -1).astype(np.float32)

    return run

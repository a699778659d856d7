"""A frozen teacher: whatever the engine runs, from pictures to the vectors that a student learns from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifacts import load_manifest, resolve
from models.engine import load_program
from models.image import normalize, resize
from models.training.distill_recipe import FrozenTeacher
from models.training.teachers import PooledFeatures

Teach = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (B, s, s, 3) RGB -> (B, V)
LEAST = 1e-9  # of a probability, before its logarithm


def open_teacher(table: FrozenTeacher, data: Path | None, *, logits: bool, threads: int = 1) -> Teach:
    """The teacher of a recipe; `model` is a path relative to `data` or to here, or the name of a bundled or pulled model.

    A folder's pictures are prepared as its manifest says, and its first output is taken. With `logits`, probabilities are
    turned into their logarithms, which softmax turns back. Raises ArtifactError, EngineError.
    """
    path = next((p for p in ((data or Path()) / table.model, Path(table.model)) if p.exists()), None)
    path = resolve(table.model) if path is None else path
    if path.is_dir():
        return _of_folder(path, logits, threads)
    features = PooledFeatures(path, table.file, threads)
    return lambda images: np.stack([features(image) for image in images])


def _of_folder(folder: Path, logits: bool, threads: int) -> Teach:
    spec = load_manifest(folder).input
    program = load_program(folder, threads=threads)
    output = program.outputs[0].name

    def teach(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.stack(
            [
                normalize(resize(image, spec.height, spec.width, spec.interpolation), spec.mean, spec.std)
                for image in images
            ]
        )
        vectors = program.run({spec.name: pixels})[output].reshape(len(images), -1).astype(np.float32)
        sums = vectors.sum(axis=1)
        if logits and (vectors >= 0).all() and np.allclose(sums, 1.0, atol=1e-3):
            return np.log(np.maximum(vectors, np.float32(LEAST)))
        return vectors

    return teach

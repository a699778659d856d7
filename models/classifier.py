"""Classifies pictures: PP-LCNet, PP-LCNetV2 and their like, from artifacts or official archives."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.names import LabelRefused, clean_label, shown
from models.artifact_model import ArtifactModel
from models.artifacts.folders import load_manifest
from models.artifacts.manifest import ClassOutput, EmbeddingOutput
from models.artifacts.official import centred
from models.engines.pixels import BATCH
from models.errors import ArtifactError, EngineError
from models.options import require_number
from models.pictures.image import resize, resize_and_centre
from models.pictures.inputs import as_image, as_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.artifacts.manifest import ImageInput, Manifest
    from models.engines.program import Array
    from models.pictures.inputs import Picture

DECIMALS = 5  # of a score, as PaddleClas gives them


@dataclass(frozen=True)
class Classification:
    """The likeliest classes of a picture, best first. `label_names` is empty where the classes have no names."""

    class_ids: tuple[int, ...]
    scores: tuple[float, ...]
    label_names: tuple[str, ...]

    def to_dict(self, filename: str) -> dict[str, Any]:
        """As PaddleClas answers."""
        return {
            "class_ids": list(self.class_ids),
            "scores": list(self.scores),
            "label_names": list(self.label_names),
            "filename": filename,
        }


class Classifier(ArtifactModel):
    """A classifier artifact or an official archive, loaded into an engine."""

    def __init__(
        self,
        folder: Path | str,
        engine: str = "auto",
        threads: int = 1,
        precision: str = "auto",
        class_map: Mapping[int, str] | None = None,
    ) -> None:
        """`class_map` names the classes instead of the manifest. Raises ArtifactError, EngineError.

        An official archive whose program ends without a softmax is taken for an embedder, unless a `class_map` names just
        as many classes as it has outputs: then these are logits.
        """
        manifest = _as_classifier(load_manifest(folder), class_map)
        output = manifest.output
        if not isinstance(output, ClassOutput):
            raise ArtifactError(f"{manifest.name} is made to {manifest.task}, not to classify.")
        super().__init__(folder, manifest, engine, threads, precision, outputs=[output.name])
        shape = self._output_spec(output.name).shape
        classes = shape[-1] if shape else None
        self._output = output
        self._labels = _labels(self.manifest.name, classes, output, class_map)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all classes, by id; empty where they have none."""
        return self._labels

    def __call__(self, images: Iterable[Picture], top_k: int = 5) -> list[Classification]:
        """The `top_k` likeliest classes of each (H, W, 3) RGB picture; of equal ones the lower id is first.

        A picture may be whatever `models.pictures.inputs.as_image` takes; of fewer classes all are given. Raises ImageError;
        OptionsError for a `top_k` below one; EngineError: output_invalid for an answer that is not a batch of finite values, and what the program raises.
        """
        require_number("top_k", top_k, 1, math.inf, whole=True)
        return [self._best(row, top_k) for row in self.probabilities(images)]

    def probabilities(self, images: Iterable[Picture]) -> list[Array]:
        """The probability of every class, (C,) for each picture. Raises ImageError, EngineError."""
        rows: list[Array] = []
        pictures = as_images(images)
        for start in range(0, len(pictures), BATCH):
            batch = enumerate(pictures[start : start + BATCH], start)
            rows.extend(self._run([as_image(picture, f"Picture {at} of the list") for at, picture in batch]))
        return rows

    def _run(self, images: Sequence[NDArray[np.uint8]]) -> Array:
        answer = self._program.run([_pixels(image, self.manifest.input) for image in images])[self._output.name]
        if answer.ndim < 2 or len(answer) != len(images) or not np.isfinite(answer).all():
            raise EngineError("The classifier's answer is not one finite value for each class.", "output_invalid")
        rows = answer.reshape(len(images), -1)
        if self._labels and rows.shape[1] != len(self._labels):
            detail = f"The classifier gives {rows.shape[1]} classes where {len(self._labels)} are named."
            raise EngineError(detail, "output_invalid")
        return softmax(rows) if self._output.logits else rows

    def _best(self, row: Array, top_k: int) -> Classification:
        ids = np.argsort(-row, kind="stable")[:top_k]
        scores = tuple(round(float(row[i]), DECIMALS) for i in ids)
        names = tuple(self._labels[i] for i in ids) if self._labels else ()
        return Classification(tuple(int(i) for i in ids), scores, names)


def softmax(rows: Array) -> Array:
    """(N, C) logits -> (N, C) probabilities."""
    powers = np.exp(rows.astype(np.float64) - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def read_class_map(file: Path) -> dict[int, str]:
    """PaddleClas' class map: a line "id label words" for each class. By the rule for labels; raises ArtifactError that names the bad line."""
    names: dict[int, str] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"The class map {shown(file)!r} can't be read as UTF-8 text.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        class_id, _, label = line.strip().partition(" ")
        if not class_id.isdecimal() or int(class_id) in names:
            detail = "has a class for the second time" if class_id.isdecimal() else 'is not "id label words"'
            raise ArtifactError(f"{file.name}: line {number} {detail}.")
        try:
            names[int(class_id)] = clean_label(label) if label.strip() else ""
        except LabelRefused as error:
            raise ArtifactError(f"{shown(file.name)}: line {number}: {error}.") from error
    if not names:
        raise ArtifactError(f"{file.name} names no class.")
    return names


def _as_classifier(manifest: Manifest, class_map: Mapping[int, str] | None) -> Manifest:
    output = manifest.output
    if manifest.official and isinstance(output, EmbeddingOutput) and class_map and len(class_map) == output.dim:
        logits = ClassOutput(output.name, (), logits=True)
        return replace(manifest, task="classify", input=centred(manifest.input), output=logits)
    return manifest


def _labels(
    name: str, classes: int | None, output: ClassOutput, class_map: Mapping[int, str] | None
) -> tuple[str, ...]:
    """The names of all classes in turn. Raises ArtifactError where names and classes don't match."""
    if class_map is None:
        if output.labels and classes not in (None, len(output.labels)):
            raise ArtifactError(f"{name}: the manifest names {len(output.labels)} classes, the program has {classes}.")
        return output.labels
    count = classes or len(output.labels) or len(class_map)
    if missing := [i for i in range(count) if i not in class_map]:
        listed = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        raise ArtifactError(f"{name} has {count} classes; the class map does not name {listed}.")
    if beyond := [i for i in class_map if i >= count]:
        raise ArtifactError(f"{name} has {count} classes; the class map names a class {beyond[0]}.")
    return tuple(class_map[i] for i in range(count))


def _pixels(image: NDArray[np.uint8], spec: ImageInput) -> NDArray[np.uint8]:
    if spec.resize_short:
        return resize_and_centre(image, spec.resize_short, spec.height, spec.width, spec.interpolation)
    return resize(image, spec.height, spec.width, spec.interpolation)

"""Teachers: what a picture should be embedded as, from a frozen network's pooled features and its colours.

A small network that sees few photos learns far more from a teacher's features than from labels (Tian et al.,
"Contrastive Representation Distillation", arXiv:1910.10699, survey the idea). ImageNet features know textures and shapes
but forget exact colours, by which packages differ; a colour histogram remembers nothing else. Side by side they retrieve better than either.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError
from models.openvino_engine import import_openvino
from models.training.recipe import Teacher

Features = NDArray[np.float32]
HISTOGRAM_BINS = (12, 4, 4)  # hue, saturation, value
HISTOGRAM_BANDS = 3


class PooledFeatures:
    """A frozen network, cut at the input of one of its layers. (H, W, 3) RGB uint8 -> its features, flat."""

    def __init__(self, path: Path, teacher: Teacher, threads: int = 1) -> None:
        ov = import_openvino()

        core = ov.Core()
        before = _number(ov.opset13.parameter([1]).get_name())
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ArtifactError(f"the teacher {path.name} can't be read") from error
        layers = {layer_name(op, before): op for op in model.get_ordered_ops()}
        if teacher.pooled_before not in layers:
            raise ArtifactError(f"the teacher {path.name} has no layer {teacher.pooled_before!r}")
        pooled = layers[teacher.pooled_before].input_value(0)
        cut = ov.Model([pooled], model.get_parameters())
        self._run: Any = core.compile_model(cut, "CPU", {"INFERENCE_NUM_THREADS": threads})
        self._size_px = teacher.size_px
        self._planar = teacher.layout == "NCHW"

    def __call__(self, image: NDArray[np.uint8]) -> Features:
        side = self._size_px
        interpolation = cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_LINEAR
        resized = cv2.resize(image, (side, side), interpolation=interpolation)
        batch = resized.transpose(2, 0, 1)[None] if self._planar else resized[None]
        return np.asarray(self._run(np.ascontiguousarray(batch))[0], np.float32).reshape(-1).copy()


def layer_name(layer: Any, before: int) -> str:
    """What a file calls a layer, or its kind and number: counted on from all layers that the process made `before`.

    OpenVINO counts through a process. Here the count begins with each file, so that a recipe's name always means the
    same layer.
    """
    name = str(layer.get_friendly_name())
    if name != layer.get_name():
        return name
    return f"{name.rpartition('_')[0]}_{_number(name) - before}"


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def colour_histogram(image: NDArray[np.uint8]) -> Features:
    """Square-rooted HSV histograms of three horizontal bands, as one unit vector of 576 numbers (the Hellinger kernel)."""
    hsv = cv2.cvtColor(cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV)
    bands = np.split(hsv, HISTOGRAM_BANDS)
    counts = [
        cv2.calcHist([band], [0, 1, 2], None, list(HISTOGRAM_BINS), [0, 180, 0, 256, 0, 256]).ravel() for band in bands
    ]
    roots = np.sqrt(np.concatenate(counts))
    return np.asarray(roots / np.linalg.norm(roots), np.float32)


class Whitening:
    """Centre, keep the strongest directions, and halve their spread in the log: variance to the power of 1/2, not 0.

    Fitted on training pictures only. (N, F) -> (N, dims) unit rows.
    """

    def __init__(self, features: Features, dims: int) -> None:
        self.mean = features.mean(axis=0)
        centred = features - self.mean
        eigenvalues, eigenvectors = np.linalg.eigh(centred.T @ centred / len(centred))
        strongest = np.argsort(eigenvalues)[::-1][:dims]
        deviation = np.sqrt(np.maximum(eigenvalues[strongest], 0.0)) + 1e-3
        self.projection = eigenvectors[:, strongest] / np.sqrt(deviation)

    def __call__(self, features: Features) -> Features:
        return unit_rows(np.asarray((features - self.mean) @ self.projection, np.float32))


def teacher_targets(images: Iterable[NDArray[np.uint8]], path: Path, teacher: Teacher, threads: int = 1) -> Features:
    """(N, feature_dims + colour_dims) unit rows: the target embedding of each picture."""
    network = PooledFeatures(path, teacher, threads)
    pooled, colours = [], []
    for image in images:
        pooled.append(network(image))
        colours.append(colour_histogram(image))
    features, histograms = np.stack(pooled), np.stack(colours)
    shapes = Whitening(features, teacher.feature_dims)(features)
    hues = Whitening(histograms, teacher.colour_dims)(histograms)
    return unit_rows(np.concatenate([shapes, teacher.colour_weight * hues], axis=1))


def unit_rows(vectors: Features) -> Features:
    """Each row divided by its L2 norm; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)

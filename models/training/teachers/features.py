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

from models.engines.openvino import import_openvino
from models.errors import ArtifactError
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD, normalize
from models.training.recipes.pictures import Teacher
from models.vectors import unit_rows

Features = NDArray[np.float32]
HISTOGRAM_BINS = (12, 4, 4)  # hue, saturation, value
HISTOGRAM_BANDS = 3
LAYERS_LISTED = 5


class PooledFeatures:
    """A frozen network, cut at the input of one of its layers, or whole. (H, W, 3) RGB uint8 -> its features, flat.

    Without `pooled_before` they are its first output. With `normalized` the pixels are prepared as PaddleClas has it,
    else they go in as they are, from 0 to 255.
    """

    def __init__(self, path: Path, teacher: Teacher, threads: int = 1, *, normalized: bool = False) -> None:
        """Raises ArtifactError for a file that can't be read, lacks the layer, or takes or gives something else."""
        ov = import_openvino()

        core = ov.Core()
        before = _number(ov.opset13.parameter([1]).get_name())
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ArtifactError(f"the teacher {path.name} can't be read") from error
        layers = {layer_name(op, before): op for op in model.get_ordered_ops() if op.get_input_size()}
        last = [name for name, op in layers.items() if op.get_type_name() != "Result"][-LAYERS_LISTED:]
        pooled = model.output(0)
        if teacher.pooled_before:
            if teacher.pooled_before not in layers:
                detail = f"the teacher {path.name} has no layer {teacher.pooled_before!r} to cut before"
                raise ArtifactError(f"{detail}; its last ones are {', '.join(last)}")
            pooled = layers[teacher.pooled_before].input_value(0)
        if not pooled.get_element_type().is_real():
            detail = f"the teacher {path.name} gives whole numbers ({pooled.get_element_type().to_string()})"
            raise ArtifactError(f"{detail}: name a layer in 'pooled_before'; its last ones are {', '.join(last)}")
        self._name, self._size_px, self._normalized = path.name, teacher.size_px, normalized
        self._planar = teacher.layout == "NCHW"
        self._dtype = _pixel_type(path.name, model, teacher, normalized)
        cut = ov.Model([pooled], model.get_parameters())
        hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}  # or some processors take bf16
        self._run: Any = core.compile_model(cut, "CPU", hints)

    def __call__(self, image: NDArray[np.uint8]) -> Features:
        """Raises ArtifactError where the network fails."""
        side = self._size_px
        interpolation = cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(image, (side, side), interpolation=interpolation), np.uint8)
        planar = normalize(resized, IMAGENET_MEAN, IMAGENET_STD) if self._normalized else resized.transpose(2, 0, 1)
        pixels = planar if self._planar else planar.transpose(1, 2, 0)
        try:
            features = self._run(np.ascontiguousarray(pixels[None], self._dtype))[0]
        except RuntimeError as error:
            raise ArtifactError(f"the teacher {self._name} fails on a picture of {side} pixels") from error
        return np.asarray(features, np.float32).reshape(-1).copy()


def _pixel_type(name: str, model: Any, teacher: Teacher, normalized: bool) -> Any:
    """The type of value that the one input takes. Raises ArtifactError where it takes no such pictures."""
    ov = import_openvino()
    if len(model.inputs) != 1:
        raise ArtifactError(
            f"the teacher {name} has {len(model.inputs)} inputs; it must take a picture and nothing else"
        )
    side, taken, kind = teacher.size_px, model.input(0).get_partial_shape(), model.input(0).get_element_type()
    given = ov.PartialShape([1, 3, side, side] if teacher.layout == "NCHW" else [1, side, side, 3])
    if not taken.compatible(given):
        raise ArtifactError(
            f"the teacher {name} takes {taken.to_string()}, not {given.to_string()}: see 'size_px' and 'layout'"
        )
    if not kind.is_real() and (normalized or kind != ov.Type.u8):
        pixels = "'normalized' pixels" if normalized else "pixels from 0 to 255"
        raise ArtifactError(f"the teacher {name} takes values of the type {kind.to_string()}, which can't be {pixels}")
    return kind.to_dtype()


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
    """Square-rooted HSV histograms of three horizontal bands, as one unit vector of 576 dimensions (the Hellinger kernel)."""
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

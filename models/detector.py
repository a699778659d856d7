"""Finds the main bodies of an image: resize, run the program, decode its heads, suppress. (PicoDet, arXiv 2111.00902)

The programs end at their heads; what follows is numpy and the same for every engine. Its constants are those of the official
export: 1,000 candidates a level, scores above 0.025, suppression at IoU 0.6, at most 100 boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.artifact_model import ArtifactModel
from models.artifacts.folders import load_manifest
from models.artifacts.manifest import DetectionOutput
from models.boxes import clip, suppress
from models.errors import ArtifactError, EngineError
from models.options import RECOGNIZE_OPTIONS, require_number
from models.pictures.image import resize
from models.pictures.inputs import as_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.engines.program import Array
    from models.pictures.inputs import Picture

SCORE_FLOOR, CANDIDATES, SUPPRESSION_IOU, KEPT = 0.025, 1000, 0.6, 100
DEFAULT_CONFIDENCE = 0.2  # `threshold` of PP-ShiTu's configuration


@dataclass(frozen=True)
class Detection:
    """One main body: `box` (x1, y1, x2, y2) in whole pixels of the image, x2/y2 exclusive, never empty."""

    box: tuple[int, int, int, int]
    confidence: float


class Detector(ArtifactModel):
    """A detector artifact or an official archive, loaded into an engine."""

    def __init__(self, folder: Path | str, engine: str = "auto", threads: int = 1, precision: str = "auto") -> None:
        """Raises ArtifactError, EngineError."""
        manifest = load_manifest(folder)
        output = manifest.output
        if not isinstance(output, DetectionOutput):
            raise ArtifactError(f"{manifest.name} is no detector but made to {manifest.task}.")
        names = [name for head in output.heads for name in (head.scores, head.distances)]
        super().__init__(folder, manifest, engine, threads, precision, outputs=names, cut=manifest.official)
        self._output = output

    @property
    def confidence_threshold(self) -> float:
        """The least confidence of a detection that the manifest advises; PP-ShiTu's own without such advice."""
        return self.manifest.thresholds.get("detection", DEFAULT_CONFIDENCE)

    def __call__(
        self, image: Picture, threshold: float | None = None, max_detections: int = 5
    ) -> tuple[Detection, ...]:
        """The main bodies in an image, best first: the `max_detections` best that reach `threshold`.

        The image is (H, W, 3) uint8 RGB, or what else `models.pictures.inputs.as_image` takes; a threshold of None is the
        detector's own. Raises ImageError, EngineError, OptionsError.
        """
        threshold = self.confidence_threshold if threshold is None else threshold
        require_number("threshold", threshold, 0, 1, whole=False)
        RECOGNIZE_OPTIONS["max_detections"].require(max_detections)
        return self.chosen(*self.candidates(image), threshold, max_detections)

    def chosen(self, boxes: Array, scores: Array, threshold: float, max_detections: int) -> tuple[Detection, ...]:
        """Of `candidates` the `max_detections` best that reach `threshold` and hold a pixel."""
        detections = []
        for box, score in zip(boxes[:max_detections], scores[:max_detections], strict=True):
            x1, y1, x2, y2 = (int(corner) for corner in box)
            if score >= threshold and x1 < x2 and y1 < y2:
                detections.append(Detection((x1, y1, x2, y2), float(score)))
        return tuple(detections)

    def candidates(self, image: Picture) -> tuple[Array, Array]:
        """All boxes (n, 4) in pixels of the image and their scores (n,), best first, n <= 100; before any threshold."""
        image = as_image(image)
        height, width = image.shape[:2]
        spec = self.manifest.input
        outputs = self._program.run([resize(image, spec.height, spec.width, spec.interpolation)])
        boxes, scores = decode_heads(outputs, self._output, spec.height, spec.width)
        kept = suppress(boxes, scores, SUPPRESSION_IOU)[:KEPT]
        scale = np.asarray([width / spec.width, height / spec.height] * 2, np.float32)
        return clip(boxes[kept] * scale, height, width), scores[kept]


def decode_heads(outputs: Mapping[str, Array], heads: DetectionOutput, height: int, width: int) -> tuple[Array, Array]:
    """The outputs for one image -> boxes (n, 4) within `height` x `width` pixels of input, scores (n,); best first.

    A cell's box spans four distances from its centre, each the expectation over the bins 0 .. reg_max, in strides.
    Raises EngineError (output_invalid) for scores or distances that are NaN or infinite.
    """
    found = [_decode_level(outputs[h.scores], outputs[h.distances], h.stride, heads.reg_max + 1) for h in heads.heads]
    boxes, scores = np.concatenate([boxes for boxes, _ in found]), np.concatenate([scores for _, scores in found])
    best = np.argsort(-scores, kind="stable")[:CANDIDATES]
    return clip(boxes[best], height, width), scores[best]


def _decode_level(scores: Array, distances: Array, stride: int, bins: int) -> tuple[Array, Array]:
    _, channels, rows, columns = distances.shape
    flat = scores.reshape(-1)  # one class: (1, 1, H, W) and the official (1, H, W, 1) hold the same run of values
    if channels != 4 * bins or flat.size != rows * columns:
        raise EngineError("the program's heads have other shapes than its manifest says", "output_invalid")
    if not np.isfinite(flat).all():
        raise EngineError("the detector's scores are NaN or infinite", "output_invalid")
    cells = np.flatnonzero(flat > SCORE_FLOOR)
    cells = cells[np.argsort(-flat[cells], kind="stable")[:CANDIDATES]]
    logits = distances.reshape(4, bins, -1)[:, :, cells]  # (4, bins, n)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    sides = np.einsum("sbn,b->ns", probabilities, np.arange(bins, dtype=np.float32)) * np.float32(
        stride
    )  # left top right bottom
    centres = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32) * stride + np.float32(stride / 2)
    boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1)
    if not np.isfinite(boxes).all():
        raise EngineError("the detector's distances are NaN or infinite", "output_invalid")
    return np.asarray(boxes, np.float32), flat[cells]

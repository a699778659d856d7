"""A detector and an embedder that are plain functions of the pixels' colours, and pictures and galleries for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError
from models.galleries.gallery import Gallery

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
GREY = 128
Picture = NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Detected:
    box: tuple[float, float, float, float]
    confidence: float


@dataclass(frozen=True)
class Named:
    id: str
    label: str
    image_key: str = "images/ab/abc"


class ColorDetector:
    """Finds the rectangle of each pure colour; the larger, the surer. With `given`, just those boxes."""

    def __init__(self, given: Sequence[Detected] | None = None) -> None:
        self._given = given

    def __call__(self, image: Picture, threshold: float | None, max_detections: int) -> Sequence[Detected]:
        detections = self._given
        if detections is None:
            detections = []
            for color in COLORS.values():
                rows, columns = np.nonzero((image == color).all(axis=2))
                if rows.size:
                    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                    fraction = rows.size / (image.shape[0] * image.shape[1])
                    detections.append(
                        Detected((box[0] + 0.4, box[1] + 0.9, box[2] + 0.6, box[3] + 0.1), min(0.5 + fraction, 1.0))
                    )
        best = sorted(detections, key=lambda detection: -detection.confidence)[:max_detections]
        return [detection for detection in best if detection.confidence >= (0.2 if threshold is None else threshold)]


class ColorEmbedder:
    """The mean colour, apart from grey, as a unit vector; plain grey has none, as a dead network's zeros have none."""

    name, digest, dim, similarity_threshold = "colors", "c" * 64, 3, 0.9

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, crops: Sequence[Picture]) -> Rows:
        self.batches.append(len(crops))
        rows = np.stack([crop.reshape(-1, 3).mean(axis=0) - GREY for crop in crops])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if (norms < 1e-9).any():
            raise EngineError("not finite", "embedding_invalid")
        return np.asarray(rows / norms, np.float32)


def color_row(name: str) -> Rows:
    row = np.array(COLORS[name], float) - GREY
    return np.asarray(row / np.linalg.norm(row), np.float32)


def gallery(*names: str) -> Gallery:
    items = [Named(f"itm_{position}", name) for position, name in enumerate(names)]
    rows = np.stack([color_row(name) for name in names]) if names else np.empty((0, 0), np.float32)
    return Gallery(items, rows, "colors", 3)


def picture(**rectangles: tuple[int, int, int, int]) -> Picture:
    image = np.full((100, 200, 3), GREY, np.uint8)
    for name, (x1, y1, x2, y2) in rectangles.items():
        image[y1:y2, x1:x2] = COLORS[name]
    return image


RED_BOX, BLUE_BOX = (10, 20, 60, 80), (100, 10, 120, 50)
SCENE = picture(red=RED_BOX, blue=BLUE_BOX)
FULL = picture(red=(0, 0, 200, 100))
MOSTLY_RED = picture(red=(0, 0, 200, 95))  # the whole image is nearly as red as its object

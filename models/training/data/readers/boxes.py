"""Photos with annotated boxes: the record that the COCO and VOC readers give."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.names import LabelRefused, clean_label, shown
from models.training.data.photos import DatasetError


@dataclass(frozen=True, eq=False)
class BoxedPhoto:
    """A picture file and the boxes of what is in it, all of one foreground class for the main-body detector."""

    path: Path
    name: str  # as the annotation has it
    width: int  # pixels, as the annotation says; 0 where it does not
    height: int
    boxes: NDArray[np.float32]  # (T, 4) x1, y1, x2, y2 in pixels, ends excluded, not clipped
    crowd: NDArray[np.bool_]  # (T,) a region of many: neither to be found nor counted as wrong
    categories: tuple[str, ...]  # T names, as the annotation has them
    image_id: int = 0  # COCO's, or the place in the list

    def clipped(self, width: int, height: int) -> NDArray[np.float32]:
        """The boxes cut to a picture of that size: (T, 4)."""
        return np.clip(self.boxes, 0, np.array([width, height] * 2, np.float32))


def empty(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of (T, 4) boxes have no area."""
    return (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])


def category_of(name: str) -> str:
    """A category's name as a label; it may be missing, for boxes are of one class to a detector. Raises DatasetError."""
    try:
        return clean_label(name) if name.strip() else ""
    except LabelRefused as error:
        raise DatasetError(f"category {shown(name)!r}: {error}") from error

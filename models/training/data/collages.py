"""Several real photos side by side, each around one of its objects: neighbours that a detector must separate.

Rendered scenes have neighbours but no photo's look; photos with one object each have the look but suggest that a photo holds
one object, which as often as not fills it. A collage of objects cut from photos, close together as on a shelf, has both.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.detection_views import VISIBLE, Picture

Array = NDArray[np.float32]
MOST_IN_A_ROW, MOST = 4, 6
REPEATED = 0.4  # of the collages show one object again and again, as a shelf does
MARGINS = (0.02, 0.3)  # of an object's sides, that is left around it
LEAST_SEEN = 0.05  # of another object in the crop: less is no trace of it
SHAPES = (0.4, 1.6)  # width by height of a photo's place, whatever the crop's own


def collage(sample: Callable[[np.random.Generator], Picture], size_px: int, rng: np.random.Generator) -> Picture:
    """2 to 6 crops of the pictures that `sample` gives, or of one of them, in one or two rows of a square of `size_px`."""
    count = int(rng.integers(2, MOST + 1))
    rows = 2 if count > MOST_IN_A_ROW or (count > 2 and rng.random() < 0.4) else 1
    parts = np.array_split(np.arange(count), rows)
    edges = np.round(size_px * np.concatenate([[0.0], np.cumsum(_fractions(rows, rng))])).astype(int)
    canvas = np.empty((size_px, size_px, 3), np.uint8)
    boxes, certainty = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
    only = sample(rng) if rng.random() < REPEATED else None
    for row, part in enumerate(parts):
        crops = [around_object(sample(rng) if only is None else _again(only, rng), rng) for _ in part]
        shapes = np.array([np.clip(crop.image.shape[1] / crop.image.shape[0], *SHAPES) for crop in crops])
        across = np.round(size_px * np.concatenate([[0.0], np.cumsum(shapes / shapes.sum())])).astype(int)
        top, bottom = int(edges[row]), int(edges[row + 1])
        for place, crop in enumerate(crops):
            left, right = int(across[place]), int(across[place + 1])
            height, width = crop.image.shape[:2]
            canvas[top:bottom, left:right] = cv2.resize(
                crop.image, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR
            )
            scale = np.array([(right - left) / width, (bottom - top) / height] * 2, np.float32)
            boxes.append(crop.boxes * scale + np.array([left, top] * 2, np.float32))
            certainty.append(crop.certainty)
    return Picture(canvas, np.concatenate(boxes).astype(np.float32), np.concatenate(certainty))


def around_object(picture: Picture, rng: np.random.Generator) -> Picture:
    """The part of a picture around one of its objects; others in it of which too little shows are passed over."""
    height, width = picture.image.shape[:2]
    objects = np.flatnonzero(picture.certainty > 0)
    if not len(objects):
        return picture
    box = picture.boxes[int(rng.choice(objects))]
    sides = np.tile(box[2:] - box[:2], 2) * rng.uniform(*MARGINS, 4) * (-1, -1, 1, 1)
    x1, y1, x2, y2 = np.clip(np.round(box + sides), 0, (width, height, width, height)).astype(int)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    moved = picture.boxes - np.array([x1, y1] * 2, np.float32)
    clipped = np.clip(moved, 0, np.array([x2 - x1, y2 - y1] * 2, np.float32))
    whole, seen = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (moved, clipped))
    fraction = seen / np.maximum(whole, 1e-6)
    kept = fraction > LEAST_SEEN
    certainty = np.where(fraction < VISIBLE, 0, picture.certainty).astype(np.float32)
    return Picture(np.ascontiguousarray(picture.image[y1:y2, x1:x2]), clipped[kept].astype(np.float32), certainty[kept])


def _again(picture: Picture, rng: np.random.Generator) -> Picture:
    """The same picture in a little more or less light: no two things alike look quite the same."""
    gain = rng.uniform(0.8, 1.2)
    return Picture(np.clip(picture.image * gain, 0, 255).astype(np.uint8), picture.boxes, picture.certainty)


def _fractions(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Unequal parts of 1."""
    parts = rng.uniform(0.8, 1.25, count)
    return np.asarray(parts / parts.sum())

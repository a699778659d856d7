"""Random views of pictures with boxes: stretched, put together, zoomed, mirrored and re-lit, their boxes moved along."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.recipes.detector_tables import Variation

Array = NDArray[np.float32]
VISIBLE = 0.35  # a box cropped below this fraction of its area is no object any more
SMALLEST_PX = 4.0
MOST_CLOSE_UP = 5.0  # beyond, an enlarged picture is but blur


@dataclass(frozen=True)
class Picture:
    """An RGB image (H, W, 3) and the boxes (G, 4) of its main bodies in pixels, x2 and y2 exclusive.

    `weights` (G,) are how sure each box is: 1 where a person annotated it, less where a teacher guessed it, 0 for a region of
    many objects (COCO's "crowd"), which is neither to be found nor background. None: all are 1.
    """

    image: NDArray[np.uint8]
    boxes: Array
    weights: Array | None = None

    @property
    def certainty(self) -> Array:
        """(G,) weights, also where none are given."""
        return np.ones(len(self.boxes), np.float32) if self.weights is None else self.weights


def to_square(picture: Picture, size_px: int) -> Picture:
    """Stretched to a square without keeping the ratio, as the served detector sees every photo."""
    height, width = picture.image.shape[:2]
    interpolation = cv2.INTER_AREA if min(height, width) > size_px else cv2.INTER_LINEAR
    image = cv2.resize(picture.image, (size_px, size_px), interpolation=interpolation)
    scale = np.array([size_px / width, size_px / height] * 2, np.float32)
    return Picture(
        np.asarray(image, np.uint8), picture.boxes.reshape(-1, 4).astype(np.float32) * scale, picture.weights
    )


def mosaic(pictures: list[Picture], size_px: int, rng: np.random.Generator) -> Picture:
    """Four pictures in the quadrants around a random middle, each stretched to its own."""
    x, y = (int(size_px * fraction) for fraction in rng.uniform(0.35, 0.65, 2))
    canvas = np.empty((size_px, size_px, 3), np.uint8)
    boxes = []
    for picture, (left, top, right, bottom) in zip(
        pictures,
        ((0, 0, x, y), (x, 0, size_px, y), (0, y, x, size_px), (x, y, size_px, size_px)),
        strict=True,
    ):
        height, width = picture.image.shape[:2]
        part = cv2.resize(picture.image, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        canvas[top:bottom, left:right] = part
        scale = np.array([(right - left) / width, (bottom - top) / height] * 2, np.float32)
        boxes.append(picture.boxes * scale + np.array([left, top] * 2, np.float32))
    return Picture(canvas, np.concatenate(boxes), np.concatenate([picture.certainty for picture in pictures]))


def vary(picture: Picture, size_px: int, rng: np.random.Generator, variation: Variation) -> Picture:
    """One random view: zoomed, shifted, flipped, re-lit; of size_px x size_px."""
    height, width = picture.image.shape[:2]
    zoom = np.exp(rng.uniform(*np.log(variation.zoom)))
    stretch = np.exp(rng.uniform(-1.0, 1.0) * np.log(variation.aspect))
    scale = np.array([zoom * stretch / width, zoom / stretch / height]) * size_px
    spare = size_px - scale * (width, height)  # negative: the view shows a part
    shift = rng.uniform(0.0, 1.0, 2) * spare
    if (picture.certainty > 0).any() and rng.random() < variation.close_up:
        scale, shift = _close_up(picture, size_px, stretch, rng)
    mirror = rng.random() < variation.flip
    sign = -1.0 if mirror else 1.0
    offset = np.array([size_px - shift[0] if mirror else shift[0], shift[1]])
    matrix = np.zeros((2, 3))
    matrix[0, 0], matrix[1, 1] = sign * scale[0], scale[1]
    # Boxes measure from a pixel's edge, the warp from its centre.
    matrix[:, 2] = offset + np.array([sign, 1.0]) * scale / 2 - 0.5
    fill = tuple(int(value) for value in rng.integers(0, 256, 3))
    border = cv2.BORDER_REFLECT_101 if len(picture.boxes) == 0 else cv2.BORDER_CONSTANT
    image = cv2.warpAffine(
        picture.image, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=fill
    )
    corners = picture.boxes[:, [2, 1, 0, 3]] if mirror else picture.boxes
    moved = corners * np.tile(scale * (sign, 1.0), 2) + np.tile(offset, 2)
    boxes, certainty = moved.astype(np.float32), picture.certainty
    clipped, seen = _seen(boxes, size_px, certainty == 0)
    return Picture(_color_jitter(np.asarray(image, np.uint8), rng, variation), clipped[seen], certainty[seen])


def _close_up(
    picture: Picture, size_px: int, stretch: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift for a view that one of the objects fills, by 0.4 to 1 of a side, all of it within the view."""
    height, width = picture.image.shape[:2]
    objects = picture.boxes[picture.certainty > 0].astype(np.float64)
    box = objects[int(rng.integers(len(objects)))]
    aspect = np.array([stretch, 1 / stretch])
    fractions = (box[2:] - box[:2]) / (width, height) * aspect
    zoom = min(MOST_CLOSE_UP, rng.uniform(0.4, 1.0) / fractions.max())
    scale = zoom * aspect / (width, height) * size_px
    room = size_px - (box[2:] - box[:2]) * scale
    return scale, rng.uniform(0.0, 1.0, 2) * room - box[:2] * scale


def visible(boxes: Array, size_px: int) -> Array:
    """The boxes clipped to the picture, without those of which too little is left."""
    clipped, seen = _seen(boxes, size_px, np.zeros(len(boxes), np.bool_))
    return clipped[seen]


def _seen(boxes: Array, size_px: int, regions: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """The clipped boxes, and of which enough is left; of regions that are passed over any part is enough."""
    clipped = np.clip(boxes, 0, size_px)
    sides, whole = clipped[:, 2:] - clipped[:, :2], boxes[:, 2:] - boxes[:, :2]
    fraction = np.prod(sides, axis=1) / np.maximum(np.prod(whole, axis=1), 1e-6)
    smallest = sides.min(axis=1, initial=np.inf)
    return clipped.astype(np.float32), np.where(
        regions, smallest > 0, (fraction >= VISIBLE) & (smallest >= SMALLEST_PX)
    )


def _color_jitter(image: NDArray[np.uint8], rng: np.random.Generator, variation: Variation) -> NDArray[np.uint8]:
    """Exposure, contrast, gamma and tint by one look-up table a channel; then grey, blur or noise at times."""
    gain, contrast = 1.0 + rng.uniform(-variation.gain, variation.gain, 2)
    ramp = np.linspace(0.0, 1.0, 256) ** np.exp(rng.uniform(-0.3, 0.3))
    ramp = ((ramp - 0.5) * contrast + 0.5) * gain
    tables = ramp[:, None] * (1.0 + rng.normal(0.0, 0.06, 3))
    image = np.asarray(cv2.LUT(image, np.clip(tables * 255.0, 0, 255).astype(np.uint8)[None]), np.uint8)
    if rng.random() < variation.grey:
        image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    if rng.random() < variation.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < variation.noise:
        noise = rng.normal(0.0, rng.uniform(2, 12), (*image.shape[:2], 1)).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image

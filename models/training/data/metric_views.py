"""How PP-ShiTu augments pictures for training: V1's random-resized crop, V2's padded crop and random rotation; random erasing.

Pictures come as (h, w, 3) RGB, or (h, w, 4) where a background shows through, and leave as (size, size, 3) RGB.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.augment import augment
from models.training.data.class_views import random_part
from models.training.data.pool import fit, on_grey
from models.training.recipes.metric import Augment

Image = NDArray[np.uint8]
PAD = 10 / 224  # V2's margin around a picture, as a fraction of its size
CROP_AREA, CROP_ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
ERASED_AREA, ERASED_ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)
MEAN_COLOUR = (124, 116, 104)  # ImageNet's, which is 0 to the network
CLUTTER = 0.5  # fraction of cut-outs that are put on a picture instead of on grey


def augmented(
    view: Image, size_px: int, rng: np.random.Generator, how: Augment, backgrounds: NDArray[np.uint8] | None = None
) -> Image:
    """One random view of `view`, as the recipe's `[augment]` says."""
    if how.kind == "shelf":
        rgb = augment(_with_alpha(view, size_px), size_px, rng, backgrounds)
    elif how.kind == "resized_crop":
        part = random_part(_opaque(view, rng, backgrounds), rng, CROP_AREA, CROP_ASPECT)
        rgb = flipped(fit(np.ascontiguousarray(part), size_px), rng)
    else:
        rgb = flipped(fit(_opaque(view, rng, backgrounds), size_px), rng)
        rgb = pad_crop(rgb, rng) if how.kind == "pad_crop" else rgb
    if rng.random() < how.rotation_probability:
        rgb = rotated(rgb, rng, how.rotation_deg)
    return erased(rgb, rng) if rng.random() < how.erase_probability else rgb


def flipped(image: Image, rng: np.random.Generator) -> Image:
    """The picture or its mirror image, one as often as the other."""
    return np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image


def pad_crop(image: Image, rng: np.random.Generator) -> Image:
    """A square picture shifted by up to PAD of its size; black comes in."""
    size = image.shape[0]
    margin = max(1, round(PAD * size))
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
    y, x = rng.integers(0, 2 * margin + 1, 2)
    return np.ascontiguousarray(padded[y : y + size, x : x + size])


def rotated(image: Image, rng: np.random.Generator, most_deg: float) -> Image:
    """Turned about its middle by an even random angle up to `most_deg` either way; black comes in."""
    size = image.shape[0]
    middle = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-most_deg, most_deg), 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def erased(image: Image, rng: np.random.Generator) -> Image:
    """A patch of 2 to 40 % of the area, of any aspect up to 1:3, in the mean colour (Zhong et al., arXiv:1708.04896)."""
    size = image.shape[0]
    side, aspect = size * np.sqrt(rng.uniform(*ERASED_AREA)), np.exp(rng.uniform(*np.log(ERASED_ASPECT)))
    h, w = (max(1, min(size, round(float(side * factor)))) for factor in (np.sqrt(aspect), 1 / np.sqrt(aspect)))
    y, x = rng.integers(0, size - h + 1), rng.integers(0, size - w + 1)
    image = image.copy()
    image[y : y + h, x : x + w] = MEAN_COLOUR
    return image


def _with_alpha(view: Image, size_px: int) -> Image:
    if view.shape[2] == 4:
        return view
    return np.concatenate([fit(view, size_px), np.full((size_px, size_px, 1), 255, np.uint8)], axis=2)


def _opaque(view: Image, rng: np.random.Generator, backgrounds: NDArray[np.uint8] | None) -> Image:
    """A cut-out on grey or on a picture; an opaque picture as it is."""
    if view.shape[2] == 3:
        return view
    if view[..., 3].min() == 255:
        return np.ascontiguousarray(view[..., :3])
    if backgrounds is None or not len(backgrounds) or rng.random() >= CLUTTER:
        return on_grey(view)
    background = cv2.resize(backgrounds[rng.integers(len(backgrounds))], view.shape[1::-1])
    alpha = view[..., 3:].astype(np.float32) / 255.0
    return (view[..., :3] * alpha + background * (1.0 - alpha)).astype(np.uint8)

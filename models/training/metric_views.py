"""How PP-ShiTu changes pictures for training: V1's random-resized crop, V2's padded crop, and V2's random rotation.

Pictures come as (h, w, 3) RGB, or (h, w, 4) where a background shows through, and leave as (size, size, 3) RGB.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.augment import augment
from models.training.metric_recipe import Augment
from models.training.pool import fit, on_grey

Image = NDArray[np.uint8]
PAD = 10 / 224  # V2's margin around a picture, as a share of its size
CROP_AREA, CROP_ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
CLUTTER = 0.5  # share of cut-outs that are put on a picture instead of on grey


def changed(
    view: Image, size_px: int, rng: np.random.Generator, how: Augment, backgrounds: NDArray[np.uint8] | None = None
) -> Image:
    """One random view of `view`, as the recipe's `[augment]` says."""
    if how.kind == "shelf":
        rgb = augment(_with_alpha(view, size_px), size_px, rng, backgrounds)
    elif how.kind == "pad_crop":
        rgb = pad_crop(fit(_opaque(view, rng, backgrounds), size_px), rng)
    else:
        rgb = resized_crop(_opaque(view, rng, backgrounds), size_px, rng)
    return rotated(rgb, rng, how.rotation_deg) if rng.random() < how.rotation_probability else rgb


def pad_crop(image: Image, rng: np.random.Generator) -> Image:
    """A square picture, flipped or not, shifted by up to PAD of its size; black comes in."""
    size = image.shape[0]
    margin = max(1, round(PAD * size))
    if rng.random() < 0.5:
        image = image[:, ::-1]
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
    y, x = rng.integers(0, 2 * margin + 1, 2)
    return np.ascontiguousarray(padded[y : y + size, x : x + size])


def resized_crop(image: Image, size_px: int, rng: np.random.Generator) -> Image:
    """A part of 8 to 100 % of the area, stretched to a square, flipped or not (Szegedy et al., arXiv:1409.4842)."""
    height, width = image.shape[:2]
    area = rng.uniform(*CROP_AREA) * height * width
    aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    h, w = (
        max(1, min(side, round(float(wanted))))
        for side, wanted in ((height, np.sqrt(area / aspect)), (width, np.sqrt(area * aspect)))
    )
    y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    part = fit(np.ascontiguousarray(image[y : y + h, x : x + w]), size_px)
    return np.ascontiguousarray(part[:, ::-1]) if rng.random() < 0.5 else part


def rotated(image: Image, rng: np.random.Generator, most_deg: float) -> Image:
    """Turned about its middle by an even random angle up to `most_deg` either way; black comes in."""
    size = image.shape[0]
    middle = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-most_deg, most_deg), 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


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
    behind = cv2.resize(backgrounds[rng.integers(len(backgrounds))], view.shape[1::-1])
    alpha = view[..., 3:].astype(np.float32) / 255.0
    return (view[..., :3] * alpha + behind * (1.0 - alpha)).astype(np.uint8)

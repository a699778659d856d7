"""Another view of one picture, made from it alone: what replaces a second photo where a label has only one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.pictures.inputs import as_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pictures.inputs import Picture

WORKING_PX = 320  # the longer side; embedders take less
TURN_DEGREES, TILT = 12.0, 0.08  # the most; tilt: how far a corner moves, as a fraction of the sides
CUT_FRACTION = 0.22  # the most that goes at the edges, of each side in all
GAIN, GAMMA, TINT = 0.25, 0.35, 0.08  # the most, as deviations from 1
BLUR_FRACTION = 0.012  # the widest, of the longer side
NOISE = 6.0  # the strongest, in levels of 255


def augmented_view(image: Picture, seed: int) -> NDArray[np.uint8]:
    """A view of `image`, (H, W, 3) RGB uint8, in the same format and of a similar shape, at most 320 pixels a side.

    Tilted, turned and cut, in another light, less sharp: as a photo of the same side of the same thing may be. The same
    seed gives the same view. Raises ImageError for what `models.pictures.inputs.as_image` refuses.
    """
    image = as_image(image)
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_PX / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    view = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _softened(_lit(_moved(view, rng), rng), rng)


def _moved(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turned, tilted and cut, in one perspective; what comes in at the edges repeats the picture's own."""
    height, width = view.shape[:2]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64) - 0.5
    angle = np.deg2rad(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    kept = 1 - rng.uniform(0, CUT_FRACTION, 2)
    offset = rng.uniform(-0.5, 0.5, 2) * (1 - kept)
    # In pixels before turning: in fractions of unequal sides a turn would be a shear.
    seen = (corners * kept + offset + rng.uniform(-TILT, TILT, (4, 2)) / 2) * (width, height) @ turn
    source = np.asarray(seen + np.array([width / 2, height / 2]), np.float32)
    target = np.asarray((corners + 0.5) * (width, height), np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    return np.asarray(cv2.warpPerspective(view, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _lit(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brighter or darker, flatter or steeper, warmer or colder."""
    gain = (1 + rng.uniform(-GAIN, GAIN)) * (1 + rng.uniform(-TINT, TINT, 3))
    gamma = 1 + rng.uniform(-GAMMA, GAMMA)
    levels = (np.arange(256)[:, None] / 255) ** gamma * gain * 255  # (256, 3)
    table = np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)
    return np.stack([table[view[:, :, channel], channel] for channel in range(3)], axis=2)


def _softened(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Out of focus a little, and with a sensor's noise."""
    sigma = rng.uniform(0, BLUR_FRACTION) * max(view.shape[:2])
    softened = cv2.GaussianBlur(view, (0, 0), sigma) if sigma > 0.3 else view
    noise = rng.normal(0, rng.uniform(0, NOISE), view.shape[:2])[:, :, None]
    return np.asarray(np.clip(np.rint(softened + noise), 0, 255), np.uint8)

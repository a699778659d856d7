"""Random views for metric learning: move, rotate, color jitter, noise, blur and erase, as phones and shelves do.

Works on RGBA uint8: where a picture has an alpha channel (a rendered product, a cut-out), a background shows through.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.data.handheld import add_glare, blur_motion, darken, put_fingers

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Strength:
    """How far each augmentation may go."""

    turn_deg: float = 12.0
    quarter_turn: float = 0.05
    scale: tuple[float, float] = (0.85, 1.2)
    shift: float = 0.08
    flip: float = 0.5
    gain: float = 0.25
    temperature: float = 0.06
    blur: float = 0.15
    noise: float = 0.2
    erase: float = 0.25
    clutter: float = 0.5
    # What a phone adds in a shop: the probability of each.
    motion_blur: float = 0.0
    low_light: float = 0.0
    glare: float = 0.0
    fingers: float = 0.0


DEFAULT = Strength()
HANDHELD = Strength(flip=0.1, motion_blur=0.12, low_light=0.12, glare=0.12, fingers=0.15)


def augment(
    view: Image,
    size_px: int,
    rng: np.random.Generator,
    backgrounds: NDArray[np.uint8] | None = None,
    strength: Strength = DEFAULT,
) -> Image:
    """One random view of `view` (h, w, 4), as (size_px, size_px, 3) RGB.

    `backgrounds` (B, s, s, 3): pictures to show through transparent parts, for a fraction `strength.clutter` of the views.
    """
    moved = _move(view, size_px, rng, strength)
    rgb = _put_on_background(moved, size_px, rng, backgrounds, strength) if moved.shape[2] == 4 else moved
    if rng.random() < strength.fingers:
        rgb = put_fingers(rgb, rng)
    rgb = _color_jitter(rgb, rng, strength)
    if rng.random() < strength.glare:
        rgb = add_glare(rgb, rng)
    if rng.random() < strength.low_light:
        rgb = darken(rgb, rng)
    if rng.random() < strength.motion_blur:
        rgb = blur_motion(rgb, rng)
    return _noise_and_erase(rgb, rng, strength)


def _move(view: Image, size_px: int, rng: np.random.Generator, strength: Strength) -> Image:
    """Turn, scale, shift and flip in one warp. Opaque pictures come back without alpha, mirrored over their edges."""
    opaque = bool(view[..., 3].min() == 255)
    height, width = view.shape[:2]
    angle = rng.normal(0.0, strength.turn_deg)
    if rng.random() < strength.quarter_turn:
        angle += 90.0 * rng.integers(1, 4)
    zoom = rng.uniform(*strength.scale) * size_px / max(height, width)
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, zoom), np.float64)
    if rng.random() < strength.flip:
        matrix = matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    matrix[:, 2] += (size_px - 1) / 2 - np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] += rng.uniform(-strength.shift, strength.shift, 2) * size_px
    source = np.ascontiguousarray(view[..., :3]) if opaque else view
    border = cv2.BORDER_REFLECT_101 if opaque else cv2.BORDER_CONSTANT
    interpolation = cv2.INTER_AREA if zoom < 0.6 else cv2.INTER_LINEAR
    return np.asarray(
        cv2.warpAffine(source, matrix, (size_px, size_px), flags=interpolation, borderMode=border), np.uint8
    )


def _put_on_background(
    moved: Image, size_px: int, rng: np.random.Generator, backgrounds: NDArray[np.uint8] | None, strength: Strength
) -> Image:
    if backgrounds is not None and len(backgrounds) and rng.random() < strength.clutter:
        background = backgrounds[rng.integers(len(backgrounds))]
        part = int(background.shape[0] * rng.uniform(0.4, 1.0))
        y, x = rng.integers(0, background.shape[0] - part + 1, 2)
        background = cv2.resize(np.ascontiguousarray(background[y : y + part, x : x + part]), (size_px, size_px))
    else:
        shade = rng.uniform(120, 255)
        colour = np.clip(shade + rng.normal(0, 12, 3), 0, 255)
        background = np.broadcast_to(colour.astype(np.uint8), (size_px, size_px, 3))
    alpha = moved[..., 3:].astype(np.float32) / 255.0
    return (moved[..., :3] * alpha + background * (1.0 - alpha)).astype(np.uint8)


def _color_jitter(rgb: Image, rng: np.random.Generator, strength: Strength) -> Image:
    """Exposure, contrast, gamma and colour temperature through one look-up table a channel."""
    gain = 1.0 + rng.uniform(-strength.gain, strength.gain)
    contrast = 1.0 + rng.uniform(-strength.gain, strength.gain)
    gamma = np.exp(rng.uniform(-0.25, 0.25))
    warmth = rng.normal(0.0, strength.temperature)
    ramp = np.linspace(0.0, 1.0, 256) ** gamma
    ramp = (ramp - 0.5) * contrast + 0.5
    tables = np.stack([ramp * gain * (1 + warmth), ramp * gain, ramp * gain * (1 - warmth)], axis=-1)
    return np.asarray(cv2.LUT(rgb, np.clip(tables * 255.0, 0, 255).astype(np.uint8)[None]), np.uint8)


def _noise_and_erase(rgb: Image, rng: np.random.Generator, strength: Strength) -> Image:
    """Blur, sensor noise, and a covered patch."""
    size = rgb.shape[0]
    if rng.random() < strength.blur:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < strength.noise:
        noise = rng.normal(0.0, rng.uniform(2, 10), (size, size, 1)).astype(np.float32)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if rng.random() < strength.erase:
        height, width = (int(size * f) for f in rng.uniform(0.1, 0.35, 2))
        y, x = rng.integers(0, size - height), rng.integers(0, size - width)
        rgb = rgb.copy()
        rgb[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return rgb

"""Scenes: products, or cut-outs of a user's own gallery, on cluttered backgrounds, with exact boxes and labels.

The demo's pictures, the tests' pictures and the detector's training set all come from here. Everything is decided by the
generator that is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.backgrounds import crop_background, draw_background
from models.training.designs import ProductDesign
from models.training.products import render_product

Image = NDArray[np.uint8]
Source = tuple[str, ProductDesign | Image]  # a label, with what to draw or an RGBA cut-out (h, w, 4)
LEAST_VISIBLE = 0.4  # of an object's pixels; below it, the object is taken out again
TRIES = 12


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it."""

    image: Image  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (N, 4): x1, y1, x2, y2 in pixels of the visible part, x2 and y2 exclusive
    labels: tuple[str, ...]


@dataclass(frozen=True)
class _Placed:
    label: str
    cut: Image  # (h, w, 4)
    x: int
    y: int


def render_scene(
    sources: Sequence[Source],
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    count: int | None = None,
    scale: tuple[float, float] = (0.14, 0.75),
    clutter: float = 0.5,
    occlusion: float = 0.2,
    backgrounds: Sequence[Image] = (),
) -> Scene:
    """One scene of `size` (height, width).

    `count` objects (1 to 8, random by default) are drawn from `sources`, each `scale` of the shorter side long.
    `occlusion` is the overlap that a newcomer may make with what stands there (intersection over its own area).
    With `backgrounds` (RGB photos), half of the scenes are set on a crop of one.
    """
    if not sources:
        raise ValueError("a scene needs at least one source")
    height, width = size
    if backgrounds and rng.random() < 0.5:
        canvas = crop_background(backgrounds[int(rng.integers(len(backgrounds)))], size, rng)
    else:
        canvas = draw_background(size, rng, clutter)
    wanted = count if count is not None else int(rng.integers(1, 9))
    largest = scale[1] if wanted < 4 else min(scale[1], 0.5)
    placed: list[_Placed] = []
    owner = np.full(size, -1, np.int16)  # which object shows at each pixel
    for number in range(wanted):
        label, content = sources[int(rng.integers(len(sources)))] if count is None else sources[number % len(sources)]
        side = int(np.exp(rng.uniform(np.log(scale[0]), np.log(largest))) * min(size))
        spot = _place(label, content, max(16, side), size, placed, owner, occlusion, rng)
        if spot is None:
            continue
        _paint(canvas, spot, rng)
        solid = spot.cut[..., 3] > 127
        owner[spot.y : spot.y + solid.shape[0], spot.x : spot.x + solid.shape[1]][solid] = len(placed)
        placed.append(spot)
    boxes = [_visible_box(owner, index) for index in range(len(placed))]
    canvas = _camera(canvas, rng)
    return Scene(canvas, np.array(boxes, np.float32).reshape(-1, 4), tuple(spot.label for spot in placed))


def _place(
    label: str,
    content: ProductDesign | Image,
    side: int,
    size: tuple[int, int],
    placed: Sequence[_Placed],
    owner: NDArray[np.int16],
    occlusion: float,
    rng: np.random.Generator,
) -> _Placed | None:
    """A spot where the object fits and hides little enough of the others; None if none was found."""
    cut = _cut(content, side, rng)
    h, w = cut.shape[:2]
    if h >= size[0] or w >= size[1]:
        return None
    solid = cut[..., 3] > 127
    for _ in range(TRIES):
        y, x = int(rng.integers(0, size[0] - h)), int(rng.integers(0, size[1] - w))
        window = owner[y : y + h, x : x + w]
        hidden = window[solid]
        if (hidden >= 0).mean() > occlusion:
            continue
        taken = np.bincount(hidden[hidden >= 0], minlength=len(placed))
        visible = np.bincount(owner[owner >= 0], minlength=len(placed))
        areas = np.array([(other.cut[..., 3] > 127).sum() for other in placed], np.float64)
        if len(placed) and ((visible - taken) < LEAST_VISIBLE * areas).any():
            continue
        return _Placed(label, cut, x, y)
    return None


def _cut(content: ProductDesign | Image, side: int, rng: np.random.Generator) -> Image:
    if isinstance(content, ProductDesign):
        return render_product(content, side, rng)
    factor = side / max(content.shape[:2])
    size = (max(4, round(content.shape[1] * factor)), max(4, round(content.shape[0] * factor)))
    cut = np.asarray(cv2.resize(content, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR), np.uint8)
    gain = rng.uniform(0.8, 1.15)
    lit = np.clip(cut[..., :3] * gain, 0, 255).astype(np.uint8)
    cut = np.dstack([lit, cut[..., 3]])
    return np.ascontiguousarray(cut[:, ::-1]) if rng.random() < 0.5 else cut


def _paint(canvas: Image, spot: _Placed, rng: np.random.Generator) -> None:
    """The object with a soft shadow beside and below it."""
    h, w = spot.cut.shape[:2]
    alpha = spot.cut[..., 3].astype(np.float32) / 255.0
    reach = max(2, int(0.06 * max(h, w)))
    shadow = cv2.GaussianBlur(np.pad(alpha, reach * 2), (0, 0), reach * 0.7) * rng.uniform(0.15, 0.55)
    top = spot.y - 2 * reach + int(reach * rng.uniform(0.2, 1.0))
    left = spot.x - 2 * reach + int(reach * rng.uniform(-0.9, 0.9))
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(canvas.shape[0], top + shadow.shape[0]), min(canvas.shape[1], left + shadow.shape[1])
    part = shadow[y0 - top : y1 - top, x0 - left : x1 - left, None]
    canvas[y0:y1, x0:x1] = (canvas[y0:y1, x0:x1] * (1.0 - part)).astype(np.uint8)
    window = canvas[spot.y : spot.y + h, spot.x : spot.x + w]
    window[:] = (spot.cut[..., :3] * alpha[..., None] + window * (1.0 - alpha[..., None])).astype(np.uint8)


def _visible_box(owner: NDArray[np.int16], index: int) -> tuple[float, float, float, float]:
    ys, xs = np.nonzero(owner == index)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def _camera(canvas: Image, rng: np.random.Generator) -> Image:
    """Exposure, focus and sensor noise of the whole picture."""
    picture = canvas.astype(np.float32) * rng.uniform(0.8, 1.12)
    if rng.random() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.5:
        picture = picture + rng.normal(0, rng.uniform(1, 6), picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)

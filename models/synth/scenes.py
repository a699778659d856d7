"""Scenes: products, or cut-outs of a user's own gallery, on cluttered backgrounds, with exact boxes and labels.

The demo's pictures, the tests' pictures and the detector's training set all come from here. Everything is decided by the
generator that is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.backgrounds import crop_backdrop, draw_backdrop
from models.synth.designs import ProductDesign, design_product
from models.synth.products import random_view, render_product, rephotograph

Image = NDArray[np.uint8]
_Window = tuple[slice, slice]
Source = tuple[str, ProductDesign | Image]  # a label, with what to render or an RGBA cut-out (h, w, 4)
LEAST_VISIBLE = 0.4  # of an object's pixels: nothing is placed where it or another would show less
LEAST_IN_FRAME = 0.6  # of an object that the picture's edge cuts off
MOST_OBJECTS = 8
TRIES = 30


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it."""

    image: Image  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (N, 4): x1, y1, x2, y2 in pixels of the visible part, x2 and y2 exclusive
    labels: tuple[str, ...]


class Stage:
    """A picture in the making, which knows what shows at each pixel.

    `owner` (H, W) holds the number of the object that shows there, -1 where none does; `areas` (N) each object's whole
    size in pixels, hidden and cut off parts included.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self.owner: NDArray[np.int16] = np.full((image.shape[0], image.shape[1]), -1, np.int16)
        self.areas: list[int] = []

    def visible(self, hidden_by: tuple[NDArray[np.bool_], int, int] | None = None) -> NDArray[np.float64]:
        """The fraction of each object (N) that shows, or would if a shape (h, w) at x, y came before it."""
        counts = np.bincount(self.owner[self.owner >= 0], minlength=len(self.areas))
        if hidden_by is not None:
            solid, x, y = hidden_by
            window, inside = self.window(solid.shape[0], solid.shape[1], x, y)
            taken = self.owner[window][solid[inside]]
            counts = counts - np.bincount(taken[taken >= 0], minlength=len(self.areas))
        return counts / np.maximum(self.areas, 1)

    def window(self, height: int, width: int, x: int, y: int) -> tuple[_Window, _Window]:
        """Where a shape of that size at x, y falls in the picture, and which part of the shape does."""
        y0, x0 = max(0, y), max(0, x)
        y1, x1 = max(y0, min(self.owner.shape[0], y + height)), max(x0, min(self.owner.shape[1], x + width))
        return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))

    def paint(self, cut: Image, x: int, y: int) -> None:
        """Puts a cut-out (h, w, 4) before what is there, as the next object."""
        window, inside = self.window(cut.shape[0], cut.shape[1], x, y)
        part = cut[inside]
        _mix(self.image[window], part[..., :3], part[..., 3:].astype(np.float32) / np.float32(255))
        self.owner[window][part[..., 3] > 127] = len(self.areas)
        self.areas.append(int((cut[..., 3] > 127).sum()))

    def cover(self, height: int, width: int, x: int, y: int, colour: Image) -> None:
        """Puts a plain rectangle, which is no product, before what is there."""
        window, _ = self.window(height, width, x, y)
        self.image[window] = colour
        self.owner[window] = -1

    def boxes(self) -> NDArray[np.float32]:
        """The tight box of what shows of each object (N, 4)."""
        boxes = np.zeros((len(self.areas), 4), np.float32)
        for index in range(len(self.areas)):
            shown = self.owner == index
            xs, ys = np.flatnonzero(shown.any(0)), np.flatnonzero(shown.any(1))
            boxes[index] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        return boxes


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

    With `count`, the sources are placed in turn, that many of them; without, 1 to 8 are sampled. Each is `scale` of
    the shorter side long. `occlusion` is how much of what stands there a newcomer may hide (a fraction of its own area);
    with 0 nothing is hidden or cut off by the edge. With `backgrounds` (RGB photos), half of the scenes are set on a crop
    of one. An object that finds no room is left out; of each that is in the scene, at least LEAST_VISIBLE shows.
    """
    if not sources:
        raise ValueError("a scene needs at least one source")
    if min(size) < 32:
        raise ValueError(f"a scene is 32 pixels or more in height and width, not {size}")
    if backgrounds and rng.random() < 0.5:
        backdrop = crop_backdrop(backgrounds[int(rng.integers(len(backgrounds)))], size, rng)
    else:
        backdrop = draw_backdrop(size, rng, clutter)
    stage = Stage(backdrop.image)
    wanted = count if count is not None else int(rng.integers(1, MOST_OBJECTS + 1))
    largest = scale[1] if wanted < 4 else max(scale[0], min(scale[1], 0.5))
    light, boards = float(rng.uniform(-1.0, 1.0)), _standing(backdrop.boards, wanted, rng)
    labels: list[str] = []
    for number in range(wanted):
        label, content = sources[int(rng.integers(len(sources)))] if count is None else sources[number % len(sources)]
        side = max(12, int(np.exp(rng.uniform(np.log(scale[0]), np.log(largest))) * min(size)))
        cut = _seen(content, side, light, rng)
        spot = _room_for(stage, cut, boards[number], occlusion, rng)
        if spot is not None:
            _shadow(stage, cut, *spot, standing=boards[number] is not None, rng=rng)
            stage.paint(cut, *spot)
            labels.append(label)
    if occlusion > 0 and rng.random() < 0.4 * clutter:
        _put_before(stage, rng)
    return Scene(_exposed(stage.image, rng), stage.boxes(), tuple(labels))


def training_scene(seed: int, size_px: int, backgrounds: Sequence[Image] = ()) -> Scene:
    """A square scene of products rendered from the seed, for a detector: from a single one to a crowd, calm to busy."""
    rng = np.random.default_rng((7010, seed))
    sources: list[Source] = [
        (str(number), design_product(int(number))) for number in rng.integers(0, 400_000, MOST_OBJECTS)
    ]
    clutter, occlusion = float(rng.uniform(0.1, 1.0)), float(rng.choice([0.0, 0.15, 0.35]))
    return render_scene(
        sources,
        (size_px, size_px),
        rng,
        scale=(0.1, 0.8),
        clutter=clutter,
        occlusion=occlusion,
        backgrounds=backgrounds,
    )


def _standing(boards: Sequence[int], wanted: int, rng: np.random.Generator) -> list[int | None]:
    """The board that each object stands on, far ones first, so that near ones come before them; None to lie anywhere."""
    if not boards or rng.random() < 0.12:
        return [None] * wanted
    return [boards[index] for index in sorted(rng.integers(0, len(boards), wanted))]


def _seen(content: ProductDesign | Image, side: int, light: float, rng: np.random.Generator) -> Image:
    view = replace(random_view(rng), light=float(np.clip(light + rng.normal(0, 0.15), -1, 1)))
    if isinstance(content, ProductDesign):
        return render_product(content, side, rng, view=view)
    return rephotograph(content, side, rng, view=view)


def _room_for(
    stage: Stage, cut: Image, board: int | None, occlusion: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """A place (x, y) where the object hides little enough of the others and shows enough itself; None if none was found."""
    height, width, h, w = stage.owner.shape[0], stage.owner.shape[1], cut.shape[0], cut.shape[1]
    solid = cut[..., 3] > 127
    area = int(solid.sum())
    before = stage.visible()
    for attempt in range(TRIES):
        over = 0.3 if occlusion > 0 and rng.random() < 0.12 else 0.0  # let the picture's edge cut it off
        x = int(rng.integers(-int(over * w), max(1, width - w + int(over * w) + 1)))
        if board is not None and attempt < TRIES // 2:
            y = min(height, board + int(rng.integers(0, max(2, h // 40)))) - h
        else:
            y = int(rng.integers(-int(over * h), max(1, height - h + int(over * h) + 1)))
        window, within = stage.window(h, w, x, y)
        inside = solid[within]
        if inside.sum() < (LEAST_IN_FRAME if occlusion > 0 else 1.0) * area:
            continue
        hidden = stage.owner[window][inside] >= 0
        if hidden.sum() > occlusion * area:
            continue
        after = stage.visible((solid, x, y)) if hidden.any() else before
        if (after >= LEAST_VISIBLE).all():
            return x, y
    return None


def _shadow(stage: Stage, cut: Image, x: int, y: int, *, standing: bool, rng: np.random.Generator) -> None:
    """Darkens the ground below what stands, or next to what lies."""
    h, w = cut.shape[0], cut.shape[1]
    reach = max(2, int(0.06 * max(h, w)))
    strength = float(rng.uniform(0.2, 0.55))
    alpha = np.zeros((h + 4 * reach, w + 4 * reach), np.float32)
    if standing:
        centre = (w // 2 + 2 * reach, h + 2 * reach - reach // 3)
        cv2.ellipse(alpha, centre, (max(1, int(0.5 * w)), max(1, reach // 2)), 0, 0, 360, 1.0, -1)
        dx, dy = int(0.1 * w * rng.uniform(-1, 1)), 0
    else:
        alpha[2 * reach : 2 * reach + h, 2 * reach : 2 * reach + w] = cut[..., 3] / np.float32(255)
        dx, dy = int(reach * rng.uniform(-0.9, 0.9)), int(reach * rng.uniform(0.2, 1.0))
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), reach * (0.4 if standing else 0.7)), np.float32)
    window, inside = stage.window(alpha.shape[0], alpha.shape[1], x - 2 * reach + dx, y - 2 * reach + dy)
    _mix(stage.image[window], np.zeros(3, np.uint8), alpha[inside][..., None] * np.float32(strength))


def _mix(ground: Image, colour: Image, fraction: NDArray[np.float32]) -> None:
    """Blends the ground (h, w, 3) with a colour by a fraction (h, w, 1)."""
    ground[:] = (ground + (colour - ground.astype(np.float32)) * fraction).astype(np.uint8)


def _put_before(stage: Stage, rng: np.random.Generator) -> None:
    """A pole, a sign or a card close to the camera, where each object still shows enough."""
    height, width = stage.owner.shape[0], stage.owner.shape[1]
    for _ in range(TRIES // 3):
        if rng.random() < 0.5:
            h, w = height, max(3, int(width * rng.uniform(0.02, 0.08)))
        else:
            h, w = int(height * rng.uniform(0.08, 0.25)), int(width * rng.uniform(0.1, 0.3))
        x, y = int(rng.integers(-w // 2, width)), 0 if h == height else int(rng.integers(-h // 2, height))
        solid = np.ones((h, w), np.bool_)
        if (stage.visible((solid, x, y)) >= LEAST_VISIBLE).all():
            stage.cover(h, w, x, y, rng.integers(20, 240, 3).astype(np.uint8))
            return


def _exposed(image: Image, rng: np.random.Generator) -> Image:
    """Exposure, focus and sensor noise of the whole picture."""
    picture = image * np.float32(rng.uniform(0.82, 1.12))
    if rng.random() < 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1)), np.float32)
    if rng.random() < 0.5:
        noise = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
        picture += noise * np.float32(rng.uniform(1, 6))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)

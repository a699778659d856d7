"""One view of a rendered product, as an RGBA cut-out: its body in space, then what the camera does to it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import ProductDesign, design_product
from models.synth.flat_packages import draw_boxed, draw_pouch
from models.synth.icons import Canvas
from models.synth.round_packages import draw_round
from models.synth.silhouettes import ROUND_KINDS
from models.synth.views import ViewParams, random_view

__all__ = ["ProductDesign", "ViewParams", "design_product", "packshot", "random_view", "render_product", "rephotograph"]

FINE_PX = 160  # up to this size a view is rendered twice as large and shrunk, for the small print's sake


def render_product(
    design: ProductDesign, size_px: int, rng: np.random.Generator, *, view: ViewParams | None = None
) -> NDArray[np.uint8]:
    """One view, RGBA (h, w, 4), tight around the product; its longer side is about `size_px` (8 or more).

    The view is random unless one is given; then `rng` only makes the camera's noise.
    """
    if size_px < 8:
        raise ValueError(f"a product is rendered at 8 pixels or more, not {size_px}")
    seen = view if view is not None else random_view(rng)
    scale = 2 if size_px <= FINE_PX else 1
    tall = max(16, round(size_px * scale / max(1.0, design.aspect)))
    if design.kind in ROUND_KINDS:
        rgba = draw_round(design, tall, seen)
    elif design.kind == "pouch":
        rgba = draw_pouch(design, tall, seen)
    else:
        rgba = draw_boxed(design, tall, seen)
    return rephotograph(rgba, size_px, rng, view=seen)


def rephotograph(
    cut: NDArray[np.uint8], size_px: int, rng: np.random.Generator, *, view: ViewParams | None = None
) -> NDArray[np.uint8]:
    """A cut-out RGBA (h, w, 4) as another camera sees it, tight, its longer side `size_px`.

    Of the view it takes what can be done to a flat picture: tilt, stretch, exposure, warmth, focus and noise.
    """
    seen = view if view is not None else random_view(rng)
    rgba = _tight(_tilted(cut, seen))
    factor = size_px / max(rgba.shape[:2])
    size = max(2, round(rgba.shape[1] * factor)), max(2, round(rgba.shape[0] * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return _photographed(np.asarray(cv2.resize(rgba, size, interpolation=way), np.uint8), seen, rng)


def packshot(design: ProductDesign, size_px: int, *, view: ViewParams | None = None) -> NDArray[np.uint8]:
    """A view (neutral unless given) on near white with a soft shadow, as shops photograph for their gallery: RGB (h, w, 3)."""
    shown = view if view is not None else ViewParams()
    cut = render_product(design, size_px, np.random.default_rng((7009, design.seed)), view=shown)
    margin = max(4, size_px // 14)
    padded = np.pad(cut, ((margin, margin), (margin, margin), (0, 0))).astype(np.float32)
    alpha = padded[..., 3:] / 255.0
    shadow = cv2.GaussianBlur(np.roll(alpha[..., 0], margin // 3, axis=0), (0, 0), margin / 2.5)[..., None]
    background = 250.0 - 42.0 * shadow
    return (padded[..., :3] * alpha + background * (1.0 - alpha)).astype(np.uint8)


def _tilted(rgba: Canvas, view: ViewParams) -> Canvas:
    """Turned in the picture plane, stretched and narrowed at the foot a little."""
    if view.roll == 0.0 and view.squeeze == 1.0 and view.keystone == 0.0:
        return rgba
    # A transparent rim, so that replicating the border carries colours under the alpha and edges stay clean.
    height, width = rgba.shape[:2]
    clear = rgba.copy()
    clear[[0, -1], :, 3] = 0
    clear[:, [0, -1], 3] = 0
    foot = view.keystone * width / 2
    corners = np.array([[0, 0], [width, 0], [width - foot, height], [foot, height]]) - (width / 2, height / 2)
    cos, sin = np.cos(view.roll), np.sin(view.roll)
    moved = corners * (view.squeeze, 1.0) @ np.array([[cos, -sin], [sin, cos]])
    moved -= moved.min(0)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, moved.astype(np.float32))
    size = (int(np.ceil(moved[:, 0].max())), int(np.ceil(moved[:, 1].max())))
    return np.asarray(
        cv2.warpPerspective(clear, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _tight(rgba: Canvas) -> Canvas:
    solid = rgba[..., 3] > 127
    if not solid.any():
        raise ValueError("a cut-out must show something: all of its alpha is below 128")
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    return np.ascontiguousarray(rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _photographed(rgba: Canvas, view: ViewParams, rng: np.random.Generator) -> Canvas:
    """The camera's part: exposure, colour of the light, focus and noise."""
    gains = np.array([1 + view.warmth, 1.0, 1 - view.warmth], np.float32) * np.float32(view.gain)
    colours = rgba[..., :3] * gains
    if view.blur_px:
        colours = np.asarray(cv2.GaussianBlur(colours, (0, 0), view.blur_px), np.float32)
    if view.noise:
        colours += rng.standard_normal(colours.shape, dtype=np.float32) * np.float32(view.noise)
    return np.dstack([np.clip(colours, 0, 255).astype(np.uint8), rgba[..., 3]])

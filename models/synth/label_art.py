"""Draws a product's flat label: fronts, wraps around a body, and the small print on sides and backs.

A `Box` is (x, y, width, height) with x and y its middle, in pixels of the canvas.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import Colour, Lettering, ProductDesign, luminance
from models.synth.icons import Canvas, Pen, disc, draw_barcode, draw_icon, fill, polar, shade, star, stroke
from models.synth.lettering import PLAIN, fitted, text_mask
from models.synth.patterns import Field, blend, paint_pattern

Box = tuple[float, float, float, float]

_BOLD = Lettering("latin", 0.9, 0.0, 1.0, 0.02, "solid", 0.0, upright=False)
_CLAIMS = ("NEW", "BIO", "+20%", "0%", "100%", "FRESH", "No 1", "VEGAN", "XL", "2 for 1", "ECO", "PURE")
_VOLUMES = ("330 ml", "500 ml", "1 L", "250 g", "400 g", "75 cl", "12 pcs", "1 kg", "90 g", "200 ml")
_SLOGANS = ("natural taste", "since always", "slow made", "crisp & fresh", "family size", "finest blend", "no sugar")
_QUIET = ("plain", "gradient", "halves", "hills", "wave", "kraft")  # patterns that writing can be read on as it is
_RECTANGLE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def put(canvas: Canvas, mask: NDArray[np.uint8], x: float, y: float, colour: Colour) -> None:
    """Paints `colour` through the coverage `mask`, centred at (x, y); what falls outside the canvas is cut off."""
    top, left = round(y - mask.shape[0] / 2), round(x - mask.shape[1] / 2)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + mask.shape[0], canvas.shape[0]), min(left + mask.shape[1], canvas.shape[1])
    if y1 <= y0 or x1 <= x0:
        return
    part = mask[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32) / np.float32(255)
    blend(canvas[y0:y1, x0:x1], colour, part)


def _grown(mask: NDArray[np.uint8], by_px: int) -> NDArray[np.uint8]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by_px + 1, 2 * by_px + 1))
    return np.asarray(cv2.dilate(np.pad(mask, by_px), kernel), np.uint8)


def _contrast(colour: Colour) -> Colour:
    return (255, 255, 255) if luminance(colour) < 0.6 else (24, 24, 28)


def _write(
    canvas: Canvas, text: str, lettering: Lettering, box: Box, colour: Colour, *, halo: Colour | None = None
) -> None:
    """Writes text centred in the box, in a box upright to read upwards. `halo` keeps it off a busy pattern."""
    x, y, width, height = box
    mask = text_mask(text, lettering)
    upright = height > 1.3 * width
    mask = fitted(np.asarray(np.rot90(mask)), width, height, 1.6) if upright else fitted(mask, width, height, 1.35)
    thick = max(1, round(min(mask.shape) * 0.05))
    other = (20, 20, 24) if luminance(colour) > 0.5 else (252, 252, 250)
    if lettering.style == "outlined":
        put(canvas, _grown(mask, thick), x, y, other)
    elif halo is not None:
        put(canvas, _grown(mask, max(1, 2 * thick)), x, y, halo)
    elif lettering.style == "shadow":
        put(canvas, mask, x + 1.5 * thick, y + 1.5 * thick, other)
    put(canvas, mask, x, y, colour)


def _panel(canvas: Canvas, design: ProductDesign, box: Box) -> Colour:
    """Draws the brand's field under the box; returns the colour to write with on it."""
    x, y, width, height = box
    shape, colour, rim = design.panel_shape, design.panel, shade(design.panel, 0.6)
    half = np.array([width * 0.56, height * 0.72])
    if shape == "frame":
        stroke(canvas, _RECTANGLE * half + (x, y), design.ink, height * 0.07, closed=True)
    if shape in {"none", "frame"}:
        return design.ink
    if shape == "band":
        own = min(x, canvas.shape[1] - x)  # a wrap's other front keeps its half
        canvas[max(0, int(y - half[1])) : int(y + half[1]), int(x - own) : round(x + own)] = colour
    elif shape == "ellipse":
        disc(canvas, (x, y), half[0] * 1.08, rim, half[1] * 1.25 / half[0])
        disc(canvas, (x, y), half[0], colour, half[1] * 1.15 / half[0])
    elif shape == "disc":
        disc(canvas, (x, y), half[0], rim)
        disc(canvas, (x, y), half[0] * 0.92, colour)
    elif shape == "shield":
        down = np.array([[-1, -1.3], [1, -1.3], [1, 0.4], [0, 2.0], [-1, 0.4]])
        fill(canvas, down * half * (1.05, 1.1) + (x, y), rim)
        fill(canvas, down * half * (0.97, 1.0) + (x, y), colour)
    elif shape == "ribbon":
        ends = np.array([[-1.25, -0.7], [1.25, -0.7], [1.1, 0.2], [1.25, 1.2], [-1.25, 1.2], [-1.1, 0.2]])
        fill(canvas, ends * half + (x, y), rim)
        fill(canvas, _RECTANGLE * half + (x, y), colour)
    elif shape == "swoosh":
        across = np.linspace(-1.4, 1.4, 24)
        upper = np.stack([across, -1 + 0.5 * np.sin(across * 2.2)], 1)
        lower = np.stack([across[::-1], 1 + 0.5 * np.sin(across[::-1] * 2.2 + 0.6)], 1)
        fill(canvas, np.concatenate([upper, lower]) * half + (x, y), colour)
    else:
        fill(canvas, _RECTANGLE * half + (x, y), colour)
        stroke(canvas, _RECTANGLE * half + (x, y), rim, height * 0.05, closed=True)
    return design.panel_ink


def _badge(canvas: Canvas, design: ProductDesign, at: tuple[float, float], radius: float, claim: str) -> None:
    colour = shade(design.accent, 0.8) if luminance(design.accent) > 0.6 else design.accent
    if design.badge == "burst":
        fill(canvas, star(14, 0.82) * radius + at, colour)
    elif design.badge == "disc":
        disc(canvas, at, radius, (250, 250, 250))
        disc(canvas, at, radius * 0.88, colour)
    elif design.badge == "tag":
        corners = np.array([[-1, -0.55], [0.7, -0.55], [1.1, 0], [0.7, 0.55], [-1, 0.55]])
        fill(canvas, corners * radius + at, colour)
    else:
        fill(canvas, polar(np.full(6, radius)) + at, colour)
    _write(canvas, claim, _BOLD, (*at, radius * 1.45, radius * 0.6), _contrast(colour))


def _small_print(canvas: Canvas, box: Box, ink: Colour, lines: int) -> None:
    """Text too small to read: rows of short words, as bars."""
    _, y, width, height = box
    left, top = box[0] - width / 2, y - height / 2
    rng = np.random.default_rng((7004, lines, round(width)))
    step = height / lines
    for line in range(lines):
        at, row = left, top + line * step
        while at < left + width * 0.95:
            word = width * rng.uniform(0.04, 0.16)
            end = min(at + word, left + width)
            canvas[max(0, int(row)) : int(row + max(1.0, step * 0.5)), max(0, int(at)) : max(0, int(end))] = ink
            at += word + width * 0.03


# Middle and height of the brand on the front's height, and its width on the front's, by layout.
_BRANDS = {
    "classic": (0.27, 0.17, 0.8), "low": (0.64, 0.17, 0.82), "tall": (0.3, 0.24, 0.86),
    "hero": (0.17, 0.16, 0.9), "split": (0.5, 0.22, 0.84), "stack": (0.22, 0.2, 0.86),
}  # fmt: skip
_ICON_HEIGHTS = {"low": 0.27, "split": 0.2, "stack": 0.75, "hero": 0.56}
_FLAVOUR_HEIGHTS = {"stack": 0.465, "low": 0.86, "split": 0.84}
_BADGE_HEIGHTS = {"stack": 0.64, "split": 0.27, "low": 0.42}


def _front(canvas: Canvas, design: ProductDesign, x: float, width: float) -> None:
    """Brand, icon, flavour, badge and volume on the front centred at column x, `width` pixels wide."""
    height, small = canvas.shape[0], min(width, canvas.shape[0])
    rng = np.random.default_rng((7005, design.art_seed))
    claim, volume, slogan = str(rng.choice(_CLAIMS)), str(rng.choice(_VOLUMES)), str(rng.choice(_SLOGANS))
    side, jitter = float(rng.choice([-1.0, 1.0])), float(rng.uniform(-0.03, 0.03))
    lettering, layout = design.lettering, design.layout
    halo = None if design.pattern in _QUIET else design.base
    columns = slice(max(0, round(x - width / 2)), round(x + width / 2))
    upright = (layout == "tall" and height > 1.1 * width) or (lettering.upright and height > 1.3 * width)
    icon_x, icon_y, icon_radius = x, _ICON_HEIGHTS.get(layout, 0.66) * height, 0.21 * small
    flavour_y, flavour_ink = _FLAVOUR_HEIGHTS.get(layout, 0.87) * height, design.ink
    if upright:
        layout = "tall"
        brand = (x + side * 0.12 * width, (0.4 + jitter) * height, 0.42 * width, 0.7 * height)
        icon_x, icon_y, icon_radius = x - side * 0.27 * width, 0.2 * height, 0.15 * small
        flavour_y = 0.87 * height
    else:
        middle, tall, wide = _BRANDS[layout]
        brand = (x, (middle + jitter) * height, wide * width, tall * height)
    if layout in {"split", "stack"}:
        rows = (
            slice(round(0.74 * height), height)
            if layout == "split"
            else slice(round(0.4 * height), round(0.53 * height))
        )
        canvas[rows, columns] = design.accent
        flavour_ink = _contrast(design.accent)
    if layout == "hero":
        icon_radius = 0.36 * small
        draw_icon(design.icon, Pen(canvas, icon_x, icon_y, icon_radius, design.accent, design.second))
    on_panel = not upright or design.panel_shape in {"card", "ellipse", "frame"}
    ink = (
        _panel(canvas, design, (brand[0], brand[1], brand[2], brand[3] * (0.7 if upright else 1.0)))
        if on_panel
        else design.ink
    )
    bare = not on_panel or design.panel_shape in {"none", "frame"}
    _write(canvas, design.brand, lettering, brand, ink, halo=halo if bare else None)
    if layout == "stack":
        for offset in (-0.26, 0.26):
            pen = Pen(canvas, x + offset * width, icon_y, 0.12 * small, design.accent, design.base)
            draw_icon(design.icon, pen)
        icon_radius *= 0.8
    if layout != "hero":
        draw_icon(design.icon, Pen(canvas, icon_x, icon_y, icon_radius, design.accent, design.second))
    flavour = Lettering(lettering.script, 0.5, 0.0, 1.0, 0.02, "solid", 0.0, upright=False)
    halo = None if layout in {"split", "stack"} else halo
    _write(canvas, design.flavour, flavour, (x, flavour_y, 0.72 * width, 0.08 * height), flavour_ink, halo=halo)
    if lettering.script == "latin" and layout != "stack":
        _write(
            canvas, slogan, PLAIN, (x, flavour_y + 0.065 * height, 0.5 * width, 0.03 * height), flavour_ink, halo=halo
        )
    corner_ink = flavour_ink if layout == "split" else design.ink
    _write(canvas, volume, PLAIN, (x - side * 0.32 * width, 0.965 * height, 0.24 * width, 0.035 * height), corner_ink)
    if design.badge != "none":
        at = x + side * (-0.3 if upright else 0.32) * width, (_BADGE_HEIGHTS.get(layout, 0.47) + jitter) * height
        if width > 1.1 * height and layout != "low":  # a wide label has room next to its icon
            at = x + side * 0.38 * width, 0.68 * height
        _badge(canvas, design, at, 0.13 * small, claim)


def _back(canvas: Canvas, design: ProductDesign, x: float, width: float) -> None:
    """Name, small print, table and bar code of a side or back centred at column x, `width` pixels wide."""
    height = canvas.shape[0]
    rng = np.random.default_rng((7006, design.seed))
    left = x - 0.42 * width
    brand = (x, 0.1 * height, 0.7 * width, min(0.1 * height, 0.5 * width))
    _write(canvas, design.brand, design.lettering, brand, design.ink, halo=design.base)
    _small_print(canvas, (x, 0.35 * height, 0.84 * width, 0.3 * height), design.ink, int(rng.integers(4, 8)))
    table = (left + 0.25 * width, 0.65 * height, 0.5 * width, 0.22 * height)
    fill(canvas, _RECTANGLE * (table[2] / 2, table[3] / 2) + table[:2], (248, 248, 246))
    _small_print(canvas, (table[0], table[1], 0.44 * width, 0.2 * height), (40, 40, 40), 6)
    draw_icon(design.icon, Pen(canvas, x + 0.26 * width, table[1], 0.12 * width, design.accent, design.second))
    draw_barcode(canvas, (left, 0.81 * height, 0.5 * width, 0.15 * height), rng)


def _fields(design: ProductDesign, height: int, width: int, unit: float) -> Canvas:
    canvas = np.empty((height, width, 3), np.uint8)
    rng = np.random.default_rng((7007, design.art_seed))
    paint_pattern(design.pattern, Field(canvas, unit, design.base, design.second, rng))
    return canvas


@lru_cache(maxsize=192)
def wrap_texture(design: ProductDesign, height: int, width: int) -> NDArray[np.uint8]:
    """The label (height, width, 3) that runs once around a round body; the front's middle is at width / 4.

    Not to be written to (it is kept for the next view).
    """
    unit = width / np.pi
    canvas = _fields(design, height, width, unit)
    _front(canvas, design, width / 4, unit * 0.92)
    if design.shape[5] < 0.45:
        _front(canvas, design, 3 * width / 4, unit * 0.92)
    else:
        _back(canvas, design, 3 * width / 4, unit * 0.92)
    canvas.setflags(write=False)
    return canvas


@lru_cache(maxsize=192)
def face_texture(design: ProductDesign, height: int, width: int, face: str) -> NDArray[np.uint8]:
    """One face (height, width, 3) of a flat-sided package: "front", "side" or "top". Not to be written to."""
    canvas = _fields(design, height, width, float(width) if face == "front" else height * design.aspect)
    if face == "front":
        _front(canvas, design, width / 2, width * 0.95)
    elif face == "side":
        _back(canvas, design, width / 2, width * 0.95)
    else:
        brand = (width / 2, height / 2, width * 0.7, min(height * 0.4, width * 0.5))
        _write(canvas, design.brand, design.lettering, brand, design.ink, halo=design.base)
    canvas.setflags(write=False)
    return canvas

"""Draws a product's flat label: fronts, wraps around a body, and the small print on sides and backs."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.designs import Colour, Lettering, ProductDesign, luminance
from models.training.icons import Canvas, disc, draw_barcode, draw_icon, fill, polar, shade, star, stroke
from models.training.lettering import PLAIN, fitted, text_mask
from models.training.patterns import blend, paint_pattern

_BOLD = Lettering("latin", 0.9, 0.0, 1.0, 0.02, "solid", 0.0, False)
_CLAIMS = ("NEW", "BIO", "+20%", "0%", "100%", "FRESH", "No 1", "VEGAN", "XL", "2 for 1", "ECO", "PURE")
_VOLUMES = ("330 ml", "500 ml", "1 L", "250 g", "400 g", "75 cl", "12 pcs", "1 kg", "90 g", "200 ml")
_SLOGANS = ("natural taste", "since always", "slow made", "crisp & fresh", "family size", "finest blend", "no sugar")


def put(canvas: Canvas, mask: NDArray[np.uint8], x: float, y: float, colour: Colour) -> None:
    """Paints `colour` through the coverage `mask`, centred at (x, y); what falls outside the canvas is cut off."""
    top, left = round(y - mask.shape[0] / 2), round(x - mask.shape[1] / 2)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + mask.shape[0], canvas.shape[0]), min(left + mask.shape[1], canvas.shape[1])
    if y1 <= y0 or x1 <= x0:
        return
    part = mask[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32) / 255
    blend(canvas[y0:y1, x0:x1], colour, part)


def _write(
    canvas: Canvas, text: str, lettering: Lettering, box: tuple[float, float, float, float], colour: Colour, turn: bool
) -> None:
    """Writes text centred in box (x, y, width, height); turned texts run upwards."""
    x, y, width, height = box
    mask = text_mask(text, lettering)
    mask = fitted(np.asarray(np.rot90(mask)), width, height, 1.6) if turn else fitted(mask, width, height)
    thick = max(1, round(min(mask.shape) * 0.05))
    other = (20, 20, 24) if luminance(colour) > 0.5 else (252, 252, 250)
    if lettering.style == "outlined":
        room = np.pad(mask, 2 * thick)
        put(canvas, cv2.dilate(room, np.ones((2 * thick + 1,) * 2, np.uint8)), x, y, other)
    elif lettering.style == "shadow":
        put(canvas, mask, x + 1.5 * thick, y + 1.5 * thick, other)
    put(canvas, mask, x, y, colour)


def _panel(canvas: Canvas, design: ProductDesign, box: tuple[float, float, float, float]) -> Colour:
    """Draws the brand's field behind box (x, y, width, height); returns the colour to write with on it."""
    x, y, width, height = box
    shape, colour, rim = design.panel_shape, design.panel, shade(design.panel, 0.6)
    half_w, half_h = width * 0.56, height * 0.72
    if shape == "none":
        return design.ink
    if shape == "frame":
        corners = np.array([[-half_w, -half_h], [half_w, -half_h], [half_w, half_h], [-half_w, half_h]])
        stroke(canvas, corners + (x, y), design.ink, height * 0.07, closed=True)
        return design.ink
    if shape == "band":
        canvas[max(0, int(y - half_h)) : int(y + half_h)] = colour
    elif shape == "ellipse":
        disc(canvas, x, y, half_w * 1.08, rim, half_h * 1.25 / half_w)
        disc(canvas, x, y, half_w, colour, half_h * 1.15 / half_w)
    elif shape == "disc":
        disc(canvas, x, y, half_w, rim)
        disc(canvas, x, y, half_w * 0.92, colour)
    elif shape == "shield":
        down = np.array([[-1, -1.3], [1, -1.3], [1, 0.4], [0, 2.0], [-1, 0.4]])
        fill(canvas, down * (half_w * 1.05, half_h * 1.1) + (x, y), rim)
        fill(canvas, down * (half_w * 0.97, half_h) + (x, y), colour)
    elif shape == "ribbon":
        ends = np.array([[-1.25, -0.7], [1.25, -0.7], [1.1, 0.2], [1.25, 1.2], [-1.25, 1.2], [-1.1, 0.2]])
        fill(canvas, ends * (half_w, half_h) + (x, y), rim)
        body = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        fill(canvas, body * (half_w, half_h) + (x, y), colour)
    elif shape == "swoosh":
        across = np.linspace(-1.4, 1.4, 24)
        upper = np.stack([across * half_w, -half_h + 0.5 * half_h * np.sin(across * 2.2)], 1)
        lower = np.stack([across[::-1] * half_w, half_h + 0.5 * half_h * np.sin(across[::-1] * 2.2 + 0.6)], 1)
        fill(canvas, np.concatenate([upper, lower]) + (x, y), colour)
    else:
        corners = np.array([[-half_w, -half_h], [half_w, -half_h], [half_w, half_h], [-half_w, half_h]]) + (x, y)
        fill(canvas, corners, colour)
        stroke(canvas, corners, rim, height * 0.05, closed=True)
    return design.panel_ink


def _badge(canvas: Canvas, design: ProductDesign, x: float, y: float, radius: float, claim: str) -> None:
    colour = shade(design.accent, 0.8) if luminance(design.accent) > 0.6 else design.accent
    if design.badge == "burst":
        fill(canvas, star(x, y, radius, 14, 0.82), colour)
    elif design.badge == "disc":
        disc(canvas, x, y, radius, (250, 250, 250))
        disc(canvas, x, y, radius * 0.88, colour)
    elif design.badge == "tag":
        corners = np.array([[-1, -0.55], [0.7, -0.55], [1.1, 0], [0.7, 0.55], [-1, 0.55]])
        fill(canvas, corners * radius + (x, y), colour)
    else:
        fill(canvas, polar(x, y, np.full(6, radius)), colour)
    ink = (255, 255, 255) if luminance(colour) < 0.6 else (20, 20, 20)
    _write(canvas, claim, _BOLD, (x, y, radius * 1.45, radius * 0.6), ink, False)


def _small_print(canvas: Canvas, box: tuple[float, float, float, float], ink: Colour, lines: int) -> None:
    """Text too small to read: rows of short words, as bars (x, y, width, height)."""
    x, y, width, height = box
    rng = np.random.default_rng((7004, lines, round(width)))
    step = height / lines
    for line in range(lines):
        at = x
        while at < x + width * 0.95:
            word = width * rng.uniform(0.04, 0.16)
            top, bottom = y + line * step, y + line * step + max(1.0, step * 0.5)
            canvas[int(top) : int(bottom), int(at) : int(min(at + word, x + width))] = ink
            at += word + width * 0.03


def _front(canvas: Canvas, design: ProductDesign, x: float, width: float) -> None:
    """Brand, icon, flavour, badge and volume on the front centred at column x, `width` pixels wide."""
    height = canvas.shape[0]
    rng = np.random.default_rng((7005, design.art_seed))
    small = min(width, height)
    claim, volume, slogan = str(rng.choice(_CLAIMS)), str(rng.choice(_VOLUMES)), str(rng.choice(_SLOGANS))
    side, jitter = float(rng.choice([-1.0, 1.0])), float(rng.uniform(-0.03, 0.03))
    lettering, flavour_ink = design.lettering, design.ink
    latin = lettering.script == "latin"
    icon_y, flavour_y, icon_radius, icon_x = 0.66, 0.87, 0.21 * small, x
    if design.layout == "tall" and height > 1.1 * width or lettering.upright and height > 1.3 * width:
        strip = x + side * 0.12 * width
        box = (strip, (0.4 + jitter) * height, 0.42 * width, 0.7 * height)
        upright = design.panel_shape in ("card", "ellipse", "frame")
        ink = _panel(canvas, design, (box[0], box[1], box[2] * 0.9, box[3] * 0.7)) if upright else design.ink
        _write(canvas, design.brand, lettering, box, ink, True)
        icon_x, icon_y, icon_radius = x - side * 0.27 * width, 0.2, 0.15 * small
    else:
        brand_y, brand_h, brand_w = {
            "classic": (0.27, 0.17, 0.8), "low": (0.64, 0.17, 0.82), "tall": (0.3, 0.24, 0.86),
            "hero": (0.17, 0.16, 0.9), "split": (0.5, 0.22, 0.84), "stack": (0.22, 0.2, 0.86),
        }[design.layout]  # fmt: skip
        box = (x, (brand_y + jitter) * height, brand_w * width, brand_h * height)
        if design.layout == "hero":
            draw_icon(canvas, design.icon, x, 0.56 * height, 0.36 * small, design.accent, design.second)
        if design.layout == "split":
            left, right = max(0, round(x - width / 2)), round(x + width / 2)
            canvas[round(0.74 * height) :, left:right] = design.accent
            flavour_ink = (255, 255, 255) if luminance(design.accent) < 0.6 else (25, 25, 30)
        if design.layout == "stack":
            top, bottom = round(0.4 * height), round(0.53 * height)
            canvas[top:bottom, max(0, round(x - width / 2)) : round(x + width / 2)] = design.accent
            flavour_ink = (255, 255, 255) if luminance(design.accent) < 0.6 else (25, 25, 30)
        _write(canvas, design.brand, lettering, box, _panel(canvas, design, box), False)
        icon_y = {"low": 0.27, "split": 0.2, "stack": 0.75}.get(design.layout, icon_y)
        flavour_y = {"stack": 0.465, "low": 0.86, "split": 0.84}.get(design.layout, flavour_y)
    if design.layout != "hero":
        if design.layout == "stack":
            for offset in (-0.26, 0.26):
                draw_icon(
                    canvas, design.icon, x + offset * width, icon_y * height, 0.12 * small, design.accent, design.base
                )
            icon_radius *= 0.8
        draw_icon(canvas, design.icon, icon_x, icon_y * height, icon_radius, design.accent, design.second)
    flavour = Lettering(lettering.script, 0.5, 0.0, 1.0, 0.02, "solid", 0.0, False)
    _write(canvas, design.flavour, flavour, (x, flavour_y * height, 0.72 * width, 0.08 * height), flavour_ink, False)
    if latin:
        spot = (x, (flavour_y + 0.065) * height, 0.5 * width, 0.035 * height)
        _write(canvas, slogan, PLAIN, spot, flavour_ink, False)
    _write(canvas, volume, PLAIN, (x - side * 0.32 * width, 0.96 * height, 0.24 * width, 0.04 * height), design.ink, False)
    if design.badge != "none":
        _badge(canvas, design, x + side * 0.32 * width, (0.47 + jitter) * height, 0.14 * small, claim)


def _back(canvas: Canvas, design: ProductDesign, x: float, width: float) -> None:
    """Name, small print, table and bar code of a side or back centred at column x, `width` pixels wide."""
    height = canvas.shape[0]
    rng = np.random.default_rng((7006, design.seed))
    left = x - 0.42 * width
    _write(canvas, design.brand, design.lettering, (x, 0.1 * height, 0.7 * width, 0.1 * height), design.ink, False)
    lines = int(rng.integers(4, 8))
    _small_print(canvas, (left, 0.2 * height, 0.84 * width, 0.3 * height), design.ink, lines)
    top = 0.54 * height
    canvas[round(top) : round(0.76 * height), max(0, round(left)) : round(left + 0.5 * width)] = (248, 248, 246)
    _small_print(canvas, (left + 0.03 * width, top + 0.02 * height, 0.44 * width, 0.2 * height), (40, 40, 40), 6)
    draw_icon(canvas, design.icon, x + 0.26 * width, 0.65 * height, 0.12 * width, design.accent, design.second)
    draw_barcode(canvas, left, 0.81 * height, 0.5 * width, 0.15 * height, rng)


def _fields(design: ProductDesign, height: int, width: int, unit: float) -> Canvas:
    canvas = np.empty((height, width, 3), np.uint8)
    rng = np.random.default_rng((7007, design.art_seed))
    paint_pattern(canvas, design.pattern, unit, design.base, design.second, rng)
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
        box = (width / 2, height / 2, width * 0.7, height * 0.4)
        _write(canvas, design.brand, design.lettering, box, design.ink, False)
    canvas.setflags(write=False)
    return canvas

"""Writes text as coverage masks, with one embedded font made to look like many.

The font is the one inside Pillow, so a text looks the same on every machine. Weight, width, slant, spacing and bending
are made from it; `glyphs` writes invented square characters, for products whose script is not Latin.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.synth.designs import Lettering

_EM_PX = 72
PLAIN = Lettering("latin", 0.35, 0.0, 1.0, 0.0, "solid", 0.0, upright=False)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=_EM_PX)


def _latin(text: str, lettering: Lettering) -> NDArray[np.uint8]:
    font = _font()
    stroke = round(lettering.weight * 5)
    positions, x = [], 8.0 + stroke
    for letter in text:
        positions.append(x)
        x += font.getlength(letter) + 1.2 * stroke + lettering.spacing * _EM_PX
    canvas = Image.new("L", (int(x) + 16 + 2 * stroke, int(1.7 * _EM_PX)), 0)
    draw = ImageDraw.Draw(canvas)
    for letter, at in zip(text, positions, strict=True):
        draw.text((at, 0.2 * _EM_PX), letter, font=font, fill=255, stroke_width=stroke)
    return np.asarray(canvas)


def _glyph(code: int, weight: float) -> NDArray[np.uint8]:
    """One invented character in an em square: a few straight strokes on a grid, the same for the same code."""
    rng = np.random.default_rng((7003, code))
    glyph = np.zeros((_EM_PX, _EM_PX), np.uint8)
    thick = round(4 + 6 * weight)
    grid = np.linspace(10, _EM_PX - 10, 4)
    for stroke in range(int(rng.integers(4, 8))):
        # The first two cross the whole square, so that no character is a mere dot.
        first, last = (0, 3) if stroke < 2 else sorted(rng.choice(4, 2, replace=False))
        at, form = grid[int(rng.integers(4))], (0.2, 0.6)[stroke] if stroke < 2 else rng.random()
        if form < 0.45:
            start, end = (grid[first], at), (grid[last], at)
        elif form < 0.85:
            start, end = (at, grid[first]), (at, grid[last])
        else:
            start, end = (grid[first], grid[first]), (grid[first] + (at - grid[first]) * 0.6, grid[last])
        cv2.line(glyph, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), 255, thick, cv2.LINE_AA)
    return glyph


def _glyphs(text: str, lettering: Lettering) -> NDArray[np.uint8]:
    codes = [ord(letter) * 31 + index for index, letter in enumerate(text)][: max(2, min(5, (len(text) + 1) // 2))]
    gap = np.zeros((_EM_PX, max(1, round(6 + lettering.spacing * _EM_PX))), np.uint8)
    parts: list[NDArray[np.uint8]] = []
    for code in codes:
        parts += [_glyph(code, lettering.weight), gap]
    return np.hstack(parts[:-1])


def _styled(mask: NDArray[np.uint8], style: str) -> NDArray[np.uint8]:
    if style == "round":
        blurred = cv2.GaussianBlur(mask, (0, 0), 3.5)
        return np.clip((blurred.astype(np.float32) - 95) * 5, 0, 255).astype(np.uint8)
    if style == "inline":
        core = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=2)
        return mask - np.minimum(mask, cv2.erode(core, np.ones((3, 3), np.uint8)))
    if style == "stencil":
        cut = mask.copy()
        cut[int(mask.shape[0] * 0.5) : int(mask.shape[0] * 0.5) + 4] = 0
        return cut
    return mask


def _bent(mask: NDArray[np.uint8], bend: float) -> NDArray[np.uint8]:
    height, width = mask.shape
    rise = bend * height
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32)
    lift = rise * across**2 if rise >= 0 else rise * (across**2 - 1.0)
    rows = np.arange(int(height + abs(rise)), dtype=np.float32)[:, None]
    map_x = np.broadcast_to(np.arange(width, dtype=np.float32), (rows.shape[0], width)).copy()
    return np.asarray(cv2.remap(mask, map_x, rows - lift[None, :], cv2.INTER_LINEAR), dtype=np.uint8)


def _trimmed(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(mask.max(1) > 40), np.flatnonzero(mask.max(0) > 40)
    if not rows.size:
        return np.zeros((2, 2), np.uint8)
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@lru_cache(maxsize=1024)
def text_mask(text: str, lettering: Lettering = PLAIN) -> NDArray[np.uint8]:
    """Coverage (h, w) uint8 of `text`, cut tight around the letters, about 50 px per line high. Not to be written to."""
    mask = _glyphs(text, lettering) if lettering.script == "glyphs" else _latin(text, lettering)
    mask = _styled(mask, lettering.style)
    if lettering.slant or lettering.stretch != 1.0:
        height, width = mask.shape
        wider = int(width * lettering.stretch + abs(lettering.slant) * height)
        offset = max(lettering.slant, 0.0) * height
        matrix = np.array([[lettering.stretch, -lettering.slant, offset], [0.0, 1.0, 0.0]])
        mask = np.asarray(cv2.warpAffine(mask, matrix, (wider, height)), dtype=np.uint8)
    mask = _trimmed(mask)
    if lettering.bend and mask.shape[1] > 1.5 * mask.shape[0]:
        mask = _trimmed(_bent(mask, lettering.bend))
    mask = np.ascontiguousarray(mask)
    mask.setflags(write=False)
    return mask


def fitted(mask: NDArray[np.uint8], width_px: float, height_px: float, squeeze: float) -> NDArray[np.uint8]:
    """`mask` scaled to fit into width x height; letters may be narrowed up to `squeeze` times to be taller."""
    height, width = mask.shape
    across, down = width_px / width, height_px / height
    down = min(down, across * squeeze)
    across = min(across, down * squeeze)
    size = max(1, round(width * across)), max(1, round(height * down))
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

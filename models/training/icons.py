"""Draws the small pictures of labels: fruit, leaves, stars, badges, bar codes. Everything is drawn into the canvas.

Places and radii are in pixels of the canvas (H, W, 3) uint8 RGB, fractions allowed; edges are smooth.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.designs import Colour

Canvas = NDArray[np.uint8]
Points = NDArray[np.float64]
_SHIFT = 4


def shade(colour: Colour, factor: float) -> Colour:
    """`colour` darkened (factor < 1) or mixed towards white (factor > 1, by factor - 1)."""
    if factor <= 1.0:
        return round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor)
    mix = min(factor - 1.0, 1.0)
    red, green, blue = (round(channel + (255 - channel) * mix) for channel in colour)
    return red, green, blue


def fill(canvas: Canvas, points: Points, colour: Colour) -> None:
    """Fills one polygon, points (N, 2) as x, y."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], colour, cv2.LINE_AA, _SHIFT)


def disc(canvas: Canvas, x: float, y: float, radius: float, colour: Colour, squash: float = 1.0) -> None:
    """Fills an ellipse with half-axes radius and radius x squash."""
    scale = 1 << _SHIFT
    axes = max(1, round(radius * scale)), max(1, round(radius * squash * scale))
    cv2.ellipse(canvas, (round(x * scale), round(y * scale)), axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def stroke(canvas: Canvas, points: Points, colour: Colour, width: float, closed: bool = False) -> None:
    """Draws a line through points (N, 2)."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [fixed], closed, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def polar(x: float, y: float, radii: NDArray[np.float64], turn: float = 0.0) -> Points:
    """A closed outline around (x, y) from radii at equal angles, the first pointing up."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) + turn - np.pi / 2
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)


def star(x: float, y: float, radius: float, points: int = 5, inner: float = 0.42, turn: float = 0.0) -> Points:
    """A star's outline; inner = radius of the notches in units of the radius."""
    return polar(x, y, np.tile([radius, radius * inner], points), turn)


def _leaf_outline(x: float, y: float, radius: float, turn: float, width: float = 0.42) -> Points:
    along = np.linspace(0, 1, 16)
    side = width * np.sin(np.pi * along) ** 0.9
    outline = np.concatenate(
        [np.stack([along * 2 - 1, side], 1), np.stack([1 - 2 * along, -width * np.sin(np.pi * along) ** 0.9], 1)]
    )
    cos, sin = np.cos(turn), np.sin(turn)
    return outline @ np.array([[cos, sin], [-sin, cos]]) * radius + (x, y)


def leaf(canvas: Canvas, x: float, y: float, radius: float, colour: Colour, turn: float = -0.8) -> None:
    """A leaf with its middle vein."""
    fill(canvas, _leaf_outline(x, y, radius, turn), colour)
    reach = np.array([[-0.9], [0.8]]) * radius * np.array([np.cos(turn), np.sin(turn)])
    stroke(canvas, reach + (x, y), shade(colour, 0.6), radius * 0.08)


def _round_fruit(canvas: Canvas, x: float, y: float, r: float, colour: Colour) -> None:
    disc(canvas, x, y, r, colour)
    disc(canvas, x - 0.3 * r, y - 0.3 * r, 0.35 * r, shade(colour, 1.3))


def _apple(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    disc(canvas, x - 0.28 * r, y + 0.15 * r, 0.62 * r, main, 1.2)
    disc(canvas, x + 0.28 * r, y + 0.15 * r, 0.62 * r, main, 1.2)
    disc(canvas, x - 0.4 * r, y - 0.05 * r, 0.17 * r, shade(main, 1.5), 1.5)
    stroke(canvas, np.array([[x, y - 0.4 * r], [x + 0.1 * r, y - 0.95 * r]]), (90, 60, 40), r * 0.12)
    leaf(canvas, x + 0.4 * r, y - 0.75 * r, 0.34 * r, (70, 150, 60), -0.5)


def _slice(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    disc(canvas, x, y, r, main)
    disc(canvas, x, y, 0.86 * r, shade(main, 1.75))
    for turn in np.arange(8) * np.pi / 4:
        wedge = np.array([[0.1, 0.0], [0.76, 0.27], [0.8, 0.0], [0.76, -0.27]]) * r
        cos, sin = np.cos(turn), np.sin(turn)
        fill(canvas, wedge @ np.array([[cos, sin], [-sin, cos]]) + (x, y), shade(main, 1.12))


def _lemon(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = r * (0.72 + 0.28 * np.abs(np.cos(angles)) ** 6)
    outline = np.stack([x + reach * np.cos(angles - 0.5), y + 0.75 * reach * np.sin(angles - 0.2)], 1)
    fill(canvas, outline, main)
    disc(canvas, x - 0.2 * r, y - 0.2 * r, 0.2 * r, shade(main, 1.45), 0.6)
    leaf(canvas, x + 0.55 * r, y - 0.62 * r, 0.36 * r, (80, 150, 60), -0.3)


def _cherry(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    top = (x + 0.2 * r, y - 0.95 * r)
    for dx, dy in ((-0.48, 0.4), (0.42, 0.52)):
        stroke(canvas, np.array([top, (x + dx * r, y + dy * r)]), (70, 110, 50), r * 0.09)
        _round_fruit(canvas, x + dx * r, y + dy * r, 0.45 * r, main)
    leaf(canvas, x - 0.15 * r, y - 0.75 * r, 0.36 * r, (70, 150, 60), 0.3)


def _grape(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    for row, count in enumerate((4, 3, 2, 1)):
        for index in range(count):
            _round_fruit(canvas, x + (index - (count - 1) / 2) * 0.42 * r, y + (row * 0.38 - 0.4) * r, 0.26 * r, main)
    leaf(canvas, x + 0.1 * r, y - 0.78 * r, 0.4 * r, (80, 140, 60), -0.2)


def _strawberry(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    width = 0.8 * r * np.cos(angles) * (1 - 0.28 * np.sin(angles))
    fill(canvas, np.stack([x + width, y + 0.1 * r + 0.85 * r * np.sin(angles)], 1), main)
    for dx, dy in ((-0.35, -0.1), (0.05, -0.15), (0.4, -0.05), (-0.2, 0.25), (0.22, 0.25), (0.0, 0.6)):
        disc(canvas, x + dx * r, y + dy * r, 0.055 * r, (255, 240, 170), 1.5)
    fill(canvas, star(x, y - 0.62 * r, 0.55 * r, 5, 0.35), (70, 150, 60))


def _sprig(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    leaf(canvas, x - 0.25 * r, y + 0.1 * r, 0.75 * r, main, -2.2)
    leaf(canvas, x + 0.3 * r, y - 0.05 * r, 0.8 * r, shade(main, 0.8), -0.9)


def _star(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    fill(canvas, star(x, y, r), main)
    fill(canvas, star(x, y, 0.55 * r), shade(main, 1.35))


def _drop(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([x + 0.62 * r * np.sin(angles) * np.sin(angles / 2) ** 1.4, y - 0.95 * r * np.cos(angles)], 1)
    fill(canvas, outline, main)
    disc(canvas, x - 0.18 * r, y + 0.4 * r, 0.13 * r, shade(main, 1.6), 1.8)


def _flame(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    _drop(canvas, x, y, r, main, second)
    _drop(canvas, x + 0.06 * r, y + 0.36 * r, 0.55 * r, shade(main, 1.5), second)
    leaf(canvas, x + 0.36 * r, y - 0.2 * r, 0.42 * r, main, -1.9)


def _wheat(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    stroke(canvas, np.array([[x, y + r], [x, y - 0.6 * r]]), shade(main, 0.75), r * 0.08)
    for row in range(4):
        for side in (-1, 1):
            at = x + side * 0.24 * r, y + (0.45 - row * 0.38) * r
            fill(canvas, _leaf_outline(*at, 0.3 * r, -np.pi / 2 + side * 0.6), main)
    fill(canvas, _leaf_outline(x, y - 0.85 * r, 0.28 * r, -np.pi / 2), main)


def _bean(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    for dx, dy, turn in ((-0.35, 0.2, -1.0), (0.38, -0.15, -0.4)):
        fill(canvas, _leaf_outline(x + dx * r, y + dy * r, 0.62 * r, turn, 0.75), main)
        along = np.linspace(-0.5, 0.5, 8)[:, None] * np.array([np.cos(turn), np.sin(turn)]) * r
        bow = 0.1 * r * np.sin(np.linspace(0, 2 * np.pi, 8))[:, None] * np.array([-np.sin(turn), np.cos(turn)])
        stroke(canvas, along + bow + (x + dx * r, y + dy * r), shade(main, 0.5), r * 0.09)


def _mountain(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    fill(canvas, np.array([[x - r, y + 0.6 * r], [x - 0.25 * r, y - 0.75 * r], [x + 0.5 * r, y + 0.6 * r]]), main)
    right = np.array([[x - 0.2 * r, y + 0.6 * r], [x + 0.4 * r, y - 0.35 * r], [x + r, y + 0.6 * r]])
    fill(canvas, right, shade(main, 0.75))
    snow = np.array([[-0.25, -0.75], [-0.02, -0.34], [-0.2, -0.42], [-0.32, -0.28], [-0.48, -0.33]]) * r + (x, y)
    fill(canvas, snow, (250, 250, 250))


def _sun(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    fill(canvas, star(x, y, r, 12, 0.68), main)
    disc(canvas, x, y, 0.55 * r, shade(main, 1.4))


def _wave(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    across = np.linspace(-1, 1, 24)
    for row in (-0.5, 0.0, 0.5):
        line = np.stack([x + across * r, y + row * r + 0.18 * r * np.sin(across * 7 + row)], 1)
        stroke(canvas, line, shade(main, 1.0 + 0.4 * (row + 0.5)), r * 0.22)


def _heart(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    fill(canvas, np.stack([x + r * np.sin(t) ** 3, y - r * height / 16], 1), main)
    disc(canvas, x - 0.45 * r, y - 0.35 * r, 0.16 * r, shade(main, 1.5))


def _flower(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    for turn in np.arange(6) * np.pi / 3:
        disc(canvas, x + 0.55 * r * np.cos(turn), y + 0.55 * r * np.sin(turn), 0.4 * r, main)
    disc(canvas, x, y, 0.3 * r, second)


def _snow(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    for turn in np.arange(6) * np.pi / 3 + np.pi / 6:
        way = np.array([np.cos(turn), np.sin(turn)])
        tip = way * r + (x, y)
        stroke(canvas, np.array([(x, y), tip]), main, r * 0.14)
        for side in (-0.7, 0.7):
            twig = np.array([np.cos(turn + side), np.sin(turn + side)]) * 0.35 * r
            stroke(canvas, np.array([way * 0.5 * r + (x, y), way * 0.5 * r + twig + (x, y)]), main, r * 0.1)


def _bolt(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    outline = np.array([[0.2, -1], [-0.6, 0.15], [-0.08, 0.15], [-0.25, 1], [0.6, -0.25], [0.08, -0.25]])
    fill(canvas, outline * r + (x, y), main)


def _crown(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    outline = np.array([[-0.8, 0.6], [-1, -0.4], [-0.45, 0.05], [0, -0.75], [0.45, 0.05], [1, -0.4], [0.8, 0.6]])
    fill(canvas, outline * r + (x, y), main)
    for dx in (-0.45, 0.0, 0.45):
        disc(canvas, x + dx * r, y + 0.36 * r, 0.1 * r, second)


def _fish(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    fill(canvas, _leaf_outline(x - 0.15 * r, y, 0.85 * r, 0.0, 0.5), main)
    fill(canvas, np.array([[0.5, 0], [1, -0.4], [0.9, 0], [1, 0.4]]) * r + (x, y), shade(main, 0.8))
    disc(canvas, x - 0.62 * r, y - 0.1 * r, 0.09 * r, (255, 255, 255))


def _moon(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    outer, inner = np.linspace(0.6, 5.7, 30), np.linspace(5.4, 0.9, 30)
    rim = np.stack([x + 0.9 * r * np.cos(outer), y + 0.9 * r * np.sin(outer)], 1)
    bay = np.stack([x + 0.35 * r + 0.72 * r * np.cos(inner), y + 0.72 * r * np.sin(inner)], 1)
    fill(canvas, np.concatenate([rim, bay]), main)


def _kiwi(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    disc(canvas, x, y, r, shade(main, 0.55))
    disc(canvas, x, y, 0.88 * r, main)
    disc(canvas, x, y, 0.3 * r, shade(main, 1.7))
    for turn in np.arange(12) * np.pi / 6:
        disc(canvas, x + 0.5 * r * np.cos(turn), y + 0.5 * r * np.sin(turn), 0.065 * r, (30, 25, 20))


def _tomato(canvas: Canvas, x: float, y: float, r: float, main: Colour, second: Colour) -> None:
    disc(canvas, x, y + 0.1 * r, 0.9 * r, main, 0.88)
    disc(canvas, x - 0.35 * r, y - 0.15 * r, 0.2 * r, shade(main, 1.5), 0.7)
    fill(canvas, star(x, y - 0.55 * r, 0.5 * r, 6, 0.3), (60, 130, 50))


_DRAW: dict[str, Callable[[Canvas, float, float, float, Colour, Colour], None]] = {
    "apple": _apple, "orange": _slice, "lemon": _lemon, "cherry": _cherry, "grape": _grape, "leaf": _sprig,
    "strawberry": _strawberry, "star": _star, "drop": _drop, "flame": _flame, "wheat": _wheat, "bean": _bean,
    "mountain": _mountain, "sun": _sun, "wave": _wave, "heart": _heart, "flower": _flower, "snow": _snow,
    "bolt": _bolt, "crown": _crown, "fish": _fish, "moon": _moon, "kiwi": _kiwi, "tomato": _tomato,
}  # fmt: skip


def draw_icon(canvas: Canvas, name: str, x: float, y: float, radius: float, main: Colour, second: Colour) -> None:
    """Draws the icon `name` (one of `designs.ICONS`) around (x, y)."""
    _DRAW[name](canvas, x, y, radius, main, second)


def draw_barcode(canvas: Canvas, x: float, y: float, width: float, height: float, rng: np.random.Generator) -> None:
    """A bar code with its quiet zone; the bars are random."""
    left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
    patch = canvas[max(top, 0) : bottom, max(left, 0) : right]
    if patch.shape[0] < 3 or patch.shape[1] < 5:
        return
    patch[:] = 250
    margin = max(1, patch.shape[1] // 12)
    bars = np.repeat(rng.random(40) < 0.5, 2)
    columns = bars[np.linspace(0, len(bars) - 1, patch.shape[1] - 2 * margin).astype(int)]
    inner = patch[max(1, patch.shape[0] // 10) : -max(1, patch.shape[0] // 6), margin : margin + len(columns)]
    inner[:, columns] = 25

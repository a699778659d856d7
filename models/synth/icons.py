"""Draws the small pictures of labels: fruit, leaves, stars, badges, bar codes. Everything is drawn into the canvas.

Places and radii are in pixels of the canvas (H, W, 3) uint8 RGB, fractions allowed; edges are smooth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import Colour

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


def disc(canvas: Canvas, at: tuple[float, float], radius: float, colour: Colour, squash: float = 1.0) -> None:
    """Fills an ellipse around `at` with half-axes radius and radius x squash."""
    scale = 1 << _SHIFT
    axes = max(1, round(radius * scale)), max(1, round(radius * squash * scale))
    cv2.ellipse(canvas, (round(at[0] * scale), round(at[1] * scale)), axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def stroke(canvas: Canvas, points: Points, colour: Colour, width: float, *, closed: bool = False) -> None:
    """Draws a line through points (N, 2)."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [fixed], closed, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def polar(radii: NDArray[np.float64], turn: float = 0.0) -> Points:
    """A closed outline around (0, 0) from radii at equal angles, the first pointing up."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) + turn - np.pi / 2
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def star(points: int = 5, inner: float = 0.42) -> Points:
    """A star's outline of radius 1 around (0, 0); `inner` is the radius of its notches."""
    return polar(np.tile([1.0, inner], points))


def turned(points: Points, angle: float) -> Points:
    """Points (N, 2) turned around (0, 0) by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]), np.float64)


def _leaf_outline(angle: float, width: float = 0.42) -> Points:
    along = np.linspace(0, 1, 16)
    side = width * np.sin(np.pi * along) ** 0.9
    there, back = np.stack([along * 2 - 1, side], 1), np.stack([1 - 2 * along, -side], 1)
    return turned(np.concatenate([there, back]), angle)


@dataclass(frozen=True)
class Pen:
    """Draws one icon: its own coordinates run from -1 to 1 around (x, y), `radius` pixels to the unit."""

    canvas: Canvas
    x: float
    y: float
    radius: float
    main: Colour
    second: Colour

    def shape(self, points: Points, colour: Colour) -> None:
        """A filled polygon."""
        fill(self.canvas, points * self.radius + (self.x, self.y), colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A line through points."""
        stroke(self.canvas, points * self.radius + (self.x, self.y), colour, width * self.radius)

    def spot(self, dx: float, dy: float, radius: float, colour: Colour, squash: float = 1.0) -> None:
        """A filled ellipse."""
        at = self.x + dx * self.radius, self.y + dy * self.radius
        disc(self.canvas, at, radius * self.radius, colour, squash)

    def at(self, dx: float, dy: float, radius: float, colour: Colour) -> "Pen":
        """A pen for a part of the icon."""
        return Pen(
            self.canvas, self.x + dx * self.radius, self.y + dy * self.radius, radius * self.radius, colour, self.second
        )

    def leaf(self, dx: float, dy: float, radius: float, colour: Colour, angle: float) -> None:
        """A leaf with its middle vein."""
        part = self.at(dx, dy, radius, colour)
        part.shape(_leaf_outline(angle), colour)
        part.line(np.array([[-0.9], [0.8]]) * np.array([np.cos(angle), np.sin(angle)]), shade(colour, 0.6), 0.08)


_GREEN = (70, 150, 60)


def _ball(pen: Pen, dx: float, dy: float, radius: float) -> None:
    pen.spot(dx, dy, radius, pen.main)
    pen.spot(dx - 0.3 * radius, dy - 0.3 * radius, 0.35 * radius, shade(pen.main, 1.3))


def _apple(pen: Pen) -> None:
    pen.spot(-0.28, 0.15, 0.62, pen.main, 1.2)
    pen.spot(0.28, 0.15, 0.62, pen.main, 1.2)
    pen.spot(-0.4, -0.05, 0.17, shade(pen.main, 1.5), 1.5)
    pen.line(np.array([[0, -0.4], [0.1, -0.95]]), (90, 60, 40), 0.12)
    pen.leaf(0.4, -0.75, 0.34, _GREEN, -0.5)


def _slice(pen: Pen) -> None:
    pen.spot(0, 0, 1, pen.main)
    pen.spot(0, 0, 0.86, shade(pen.main, 1.75))
    wedge = np.array([[0.1, 0.0], [0.76, 0.27], [0.8, 0.0], [0.76, -0.27]])
    for angle in np.arange(8) * np.pi / 4:
        pen.shape(turned(wedge, angle), shade(pen.main, 1.12))


def _lemon(pen: Pen) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = 0.72 + 0.28 * np.abs(np.cos(angles)) ** 6
    pen.shape(np.stack([reach * np.cos(angles - 0.5), 0.75 * reach * np.sin(angles - 0.2)], 1), pen.main)
    pen.spot(-0.2, -0.2, 0.2, shade(pen.main, 1.45), 0.6)
    pen.leaf(0.55, -0.62, 0.36, _GREEN, -0.3)


def _cherry(pen: Pen) -> None:
    for dx, dy in ((-0.48, 0.4), (0.42, 0.52)):
        pen.line(np.array([[0.2, -0.95], [dx, dy]]), (70, 110, 50), 0.09)
        _ball(pen, dx, dy, 0.45)
    pen.leaf(-0.15, -0.75, 0.36, _GREEN, 0.3)


def _grape(pen: Pen) -> None:
    for row, count in enumerate((4, 3, 2, 1)):
        for index in range(count):
            _ball(pen, (index - (count - 1) / 2) * 0.42, row * 0.38 - 0.4, 0.26)
    pen.leaf(0.1, -0.78, 0.4, _GREEN, -0.2)


def _strawberry(pen: Pen) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    width = 0.8 * np.cos(angles) * (1 - 0.28 * np.sin(angles))
    pen.shape(np.stack([width, 0.1 + 0.85 * np.sin(angles)], 1), pen.main)
    for dx, dy in ((-0.35, -0.1), (0.05, -0.15), (0.4, -0.05), (-0.2, 0.25), (0.22, 0.25), (0.0, 0.6)):
        pen.spot(dx, dy, 0.055, (255, 240, 170), 1.5)
    pen.shape(star(5, 0.35) * 0.55 + (0, -0.62), _GREEN)


def _sprig(pen: Pen) -> None:
    pen.leaf(-0.25, 0.1, 0.75, pen.main, -2.2)
    pen.leaf(0.3, -0.05, 0.8, shade(pen.main, 0.8), -0.9)


def _star(pen: Pen) -> None:
    pen.shape(star(), pen.main)
    pen.shape(star() * 0.55, shade(pen.main, 1.35))


def _drop(pen: Pen) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    width = 0.62 * np.sin(angles) * np.sin(angles / 2) ** 1.4
    pen.shape(np.stack([width, -0.95 * np.cos(angles)], 1), pen.main)
    pen.spot(-0.18, 0.4, 0.13, shade(pen.main, 1.6), 1.8)


def _flame(pen: Pen) -> None:
    _drop(pen)
    _drop(pen.at(0.06, 0.36, 0.55, shade(pen.main, 1.5)))
    pen.leaf(0.36, -0.2, 0.42, pen.main, -1.9)


def _wheat(pen: Pen) -> None:
    pen.line(np.array([[0, 1], [0, -0.6]]), shade(pen.main, 0.75), 0.08)
    for row in range(4):
        for side in (-1, 1):
            pen.shape(_leaf_outline(-np.pi / 2 + side * 0.6) * 0.3 + (side * 0.24, 0.45 - row * 0.38), pen.main)
    pen.shape(_leaf_outline(-np.pi / 2) * 0.28 + (0, -0.85), pen.main)


def _bean(pen: Pen) -> None:
    bow = np.stack([np.linspace(-0.5, 0.5, 8), 0.1 * np.sin(np.linspace(0, 2 * np.pi, 8))], 1)
    for dx, dy, angle in ((-0.35, 0.2, -1.0), (0.38, -0.15, -0.4)):
        pen.shape(_leaf_outline(angle, 0.75) * 0.62 + (dx, dy), pen.main)
        pen.line(np.add(turned(bow, angle), (dx, dy)), shade(pen.main, 0.5), 0.09)


def _mountain(pen: Pen) -> None:
    pen.shape(np.array([[-1, 0.6], [-0.25, -0.75], [0.5, 0.6]]), pen.main)
    pen.shape(np.array([[-0.2, 0.6], [0.4, -0.35], [1, 0.6]]), shade(pen.main, 0.75))
    snow = [[-0.25, -0.75], [-0.02, -0.34], [-0.2, -0.42], [-0.32, -0.28], [-0.48, -0.33]]
    pen.shape(np.array(snow), (250, 250, 250))


def _sun(pen: Pen) -> None:
    pen.shape(star(12, 0.68), pen.main)
    pen.spot(0, 0, 0.55, shade(pen.main, 1.4))


def _wave(pen: Pen) -> None:
    across = np.linspace(-1, 1, 24)
    for row in (-0.5, 0.0, 0.5):
        wave = np.stack([across, row + 0.18 * np.sin(across * 7 + row)], 1)
        pen.line(wave, shade(pen.main, 1.0 + 0.4 * (row + 0.5)), 0.22)


def _heart(pen: Pen) -> None:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    pen.shape(np.stack([np.sin(t) ** 3, -height / 16], 1), pen.main)
    pen.spot(-0.45, -0.35, 0.16, shade(pen.main, 1.5))


def _flower(pen: Pen) -> None:
    for angle in np.arange(6) * np.pi / 3:
        pen.spot(0.55 * np.cos(angle), 0.55 * np.sin(angle), 0.4, pen.main)
    pen.spot(0, 0, 0.3, pen.second)


def _snow(pen: Pen) -> None:
    for angle in np.arange(6) * np.pi / 3 + np.pi / 6:
        way = np.array([np.cos(angle), np.sin(angle)])
        pen.line(np.array([way * 0, way]), pen.main, 0.14)
        for side in (-0.7, 0.7):
            twig = np.array([np.cos(angle + side), np.sin(angle + side)]) * 0.35
            pen.line(np.array([way * 0.5, way * 0.5 + twig]), pen.main, 0.1)


def _bolt(pen: Pen) -> None:
    outline = [[0.2, -1], [-0.6, 0.15], [-0.08, 0.15], [-0.25, 1], [0.6, -0.25], [0.08, -0.25]]
    pen.shape(np.array(outline), pen.main)


def _crown(pen: Pen) -> None:
    outline = [[-0.8, 0.6], [-1, -0.4], [-0.45, 0.05], [0, -0.75], [0.45, 0.05], [1, -0.4], [0.8, 0.6]]
    pen.shape(np.array(outline), pen.main)
    for dx in (-0.45, 0.0, 0.45):
        pen.spot(dx, 0.36, 0.1, pen.second)


def _fish(pen: Pen) -> None:
    pen.shape(_leaf_outline(0.0, 0.5) * 0.85 + (-0.15, 0), pen.main)
    pen.shape(np.array([[0.5, 0], [1, -0.4], [0.9, 0], [1, 0.4]]), shade(pen.main, 0.8))
    pen.spot(-0.62, -0.1, 0.09, (255, 255, 255))


def _moon(pen: Pen) -> None:
    outer, inner = np.linspace(0.6, 5.7, 30), np.linspace(5.4, 0.9, 30)
    rim = np.stack([0.9 * np.cos(outer), 0.9 * np.sin(outer)], 1)
    bay = np.stack([0.35 + 0.72 * np.cos(inner), 0.72 * np.sin(inner)], 1)
    pen.shape(np.concatenate([rim, bay]), pen.main)


def _kiwi(pen: Pen) -> None:
    pen.spot(0, 0, 1, shade(pen.main, 0.55))
    pen.spot(0, 0, 0.88, pen.main)
    pen.spot(0, 0, 0.3, shade(pen.main, 1.7))
    for angle in np.arange(12) * np.pi / 6:
        pen.spot(0.5 * np.cos(angle), 0.5 * np.sin(angle), 0.065, (30, 25, 20))


def _tomato(pen: Pen) -> None:
    pen.spot(0, 0.1, 0.9, pen.main, 0.88)
    pen.spot(-0.35, -0.15, 0.2, shade(pen.main, 1.5), 0.7)
    pen.shape(star(6, 0.3) * 0.5 + (0, -0.55), (60, 130, 50))


_DRAW: dict[str, Callable[[Pen], None]] = {
    "apple": _apple, "orange": _slice, "lemon": _lemon, "cherry": _cherry, "grape": _grape, "leaf": _sprig,
    "strawberry": _strawberry, "star": _star, "drop": _drop, "flame": _flame, "wheat": _wheat, "bean": _bean,
    "mountain": _mountain, "sun": _sun, "wave": _wave, "heart": _heart, "flower": _flower, "snow": _snow,
    "bolt": _bolt, "crown": _crown, "fish": _fish, "moon": _moon, "kiwi": _kiwi, "tomato": _tomato,
}  # fmt: skip


def draw_icon(name: str, pen: Pen) -> None:
    """Draws the icon `name` (one of `designs.ICONS`) with a pen."""
    _DRAW[name](pen)


def draw_barcode(canvas: Canvas, box: tuple[float, float, float, float], rng: np.random.Generator) -> None:
    """A bar code with its quiet zone in box (x, y, width, height); the bars are random."""
    x, y, width, height = box
    patch = canvas[max(round(y), 0) : round(y + height), max(round(x), 0) : round(x + width)]
    if patch.shape[0] < 3 or patch.shape[1] < 5:
        return
    patch[:] = 250
    margin = max(1, patch.shape[1] // 12)
    bars = np.repeat(rng.random(40) < 0.5, 2)
    columns = bars[np.linspace(0, len(bars) - 1, patch.shape[1] - 2 * margin).astype(int)]
    inner = patch[max(1, patch.shape[0] // 10) : -max(1, patch.shape[0] // 6), margin : margin + len(columns)]
    inner[:, columns] = 25

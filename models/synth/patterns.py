"""The fields of a label under its text: gradients, stripes, dots, rays, waves, marble and the like.

Every pattern fills a canvas (H, W, 3) that may be a whole wrapped label (four sides) or one face; `unit` is the front's
width in pixels, so that a pattern has the same scale on a front and on a wrap.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import Colour
from models.synth.icons import Canvas, Pen, disc, draw_icon, fill, polar, shade, stroke


@dataclass(frozen=True)
class Field:
    """What a pattern is painted on and with; see the module's text for `unit`."""

    canvas: Canvas
    unit: float
    base: Colour
    second: Colour
    rng: np.random.Generator


def noise_field(height: int, width: int, cell: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise (H, W) float32 in about -1..1, its largest blobs `cell` pixels wide."""
    field = np.zeros((height, width), np.float32)
    weight, total = 1.0, 0.0
    for _ in range(3):
        rows, columns = int(height / cell) + 2, int(width / cell) + 2
        coarse = rng.uniform(-1, 1, (min(rows, height + 1), min(columns, width + 1))).astype(np.float32)
        field += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight
        weight, cell = weight * 0.5, max(cell / 2, 1.0)
    return field / total


def blend(canvas: Canvas, colour: Colour, coverage: NDArray[np.float32]) -> None:
    """Mixes `colour` into the canvas by coverage (H, W) in 0..1."""
    cover = coverage[..., None]
    canvas[:] = (canvas + (np.asarray(colour, np.float32) - canvas) * cover).astype(np.uint8)


def _gradient(field: Field) -> None:
    canvas, second, rng = field.canvas, field.second, field.rng
    down = np.linspace(0, 1, canvas.shape[0], dtype=np.float32)[:, None] ** float(rng.uniform(0.6, 2.0))
    blend(canvas, second, np.broadcast_to(down, canvas.shape[:2]))


def _halves(field: Field) -> None:
    canvas, second, rng = field.canvas, field.second, field.rng
    canvas[int(canvas.shape[0] * rng.uniform(0.3, 0.7)) :] = second


def _ramp(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    height, width = canvas.shape[:2]
    rise, start = rng.uniform(-0.4, 0.4) * height, rng.uniform(0.3, 0.7) * height
    count = max(2, round(width / unit) * 2)
    across = np.linspace(0, width, count + 1)
    line = start + np.where(np.arange(count + 1) % 2 == 0, rise, -rise)
    fill(canvas, np.concatenate([np.stack([across, line], 1), [[width, height + 1], [0, height + 1]]]), second)


def _hills(field: Field) -> None:
    canvas, second, rng = field.canvas, field.second, field.rng
    height, width = canvas.shape[:2]
    across = np.linspace(0, width, 80)
    for layer in range(int(rng.integers(1, 4))):
        turns, phase = int(rng.integers(1, 4)), rng.uniform(0, 6.3)
        line = height * (0.5 + 0.16 * layer) + 0.08 * height * np.sin(across / width * 2 * np.pi * turns * 2 + phase)
        outline = np.concatenate([np.stack([across, line], 1), [[width, height + 1], [0, height + 1]]])
        fill(canvas, outline, shade(second, 1.0 - 0.2 * layer))


def _bars(canvas: Canvas, count: int, fraction: float, colour: Colour, slant: float) -> None:
    height, width = canvas.shape[:2]
    across = np.arange(width, dtype=np.float32)[None, :] + slant * np.arange(height, dtype=np.float32)[:, None]
    phase = (across / width * count) % 1.0
    edge = width / count
    blend(canvas, colour, np.clip((fraction / 2 - np.abs(phase - 0.5)) * edge + 0.5, 0, 1))


def _stripes(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    _bars(canvas, max(1, round(canvas.shape[1] / unit * rng.integers(3, 8))), float(rng.uniform(0.3, 0.6)), second, 0.0)


def _pinstripes(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    _bars(canvas, max(1, round(canvas.shape[1] / unit * rng.integers(9, 16))), 0.2, second, 0.0)


def _slant(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    count = max(1, round(canvas.shape[1] / unit * rng.integers(2, 7)))
    _bars(canvas, count, float(rng.uniform(0.25, 0.55)), second, float(rng.choice([-1.0, -0.5, 0.5, 1.0])))


def _bands(field: Field) -> None:
    canvas, second, rng = field.canvas, field.second, field.rng
    height = canvas.shape[0]
    for at in rng.uniform(0, 1, int(rng.integers(2, 5))):
        thick = rng.uniform(0.02, 0.14)
        canvas[int(at * height) : int((at + thick) * height) + 1] = shade(second, float(rng.choice([0.8, 1.0, 1.3])))


def _grid(canvas: Canvas, unit: float, per_unit: int) -> tuple[int, float]:
    columns = max(1, round(canvas.shape[1] / unit * per_unit))
    return columns, canvas.shape[1] / columns


def _dots(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    columns, step = _grid(canvas, unit, int(rng.integers(4, 9)))
    radius = step * rng.uniform(0.18, 0.38)
    for row in range(int(canvas.shape[0] / step) + 2):
        for column in range(columns + 1):
            disc(canvas, ((column + 0.5 * (row % 2)) * step, row * step), radius, second)


def _checks(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    _, step = _grid(canvas, unit, 2 * int(rng.integers(2, 5)))
    rows = (np.arange(canvas.shape[0]) // step).astype(int)[:, None]
    columns = (np.arange(canvas.shape[1]) // step).astype(int)[None, :]
    canvas[(rows + columns) % 2 == 1] = second


def _rays(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    height, width = canvas.shape[:2]
    count, at = int(rng.integers(8, 18)), float(rng.uniform(0.25, 0.8)) * height
    for front in range(max(1, round(width / unit))):
        x = (front + 0.5) * unit
        left, right = int(front * unit), int((front + 1) * unit) + 1
        for index in range(count):
            turn = np.array([index, index + 0.5]) * 2 * np.pi / count
            reach = np.stack([x + np.cos(turn) * 3 * height, at + np.sin(turn) * 3 * height], 1)
            fill(canvas[:, left:right], np.concatenate([[[x, at]], reach]) - (left, 0), second)


def _zigzag(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    teeth, step = _grid(canvas, unit, int(rng.integers(3, 8)))
    across = np.arange(2 * teeth + 1) * step / 2
    for row in np.arange(0, canvas.shape[0] / step + 1, rng.uniform(0.8, 1.6)):
        line = row * step + np.where(np.arange(2 * teeth + 1) % 2 == 0, 0, 0.4 * step)
        stroke(canvas, np.stack([across, line], 1), second, step * 0.2)


def _bubbles(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    for _ in range(int(14 * canvas.shape[1] / unit)):
        x, y, radius = rng.random() * canvas.shape[1], rng.random() * canvas.shape[0], unit * rng.uniform(0.02, 0.14)
        disc(canvas, (x, y), radius, shade(second, float(rng.uniform(0.85, 1.25))))
        disc(canvas, (x - radius * 0.25, y - radius * 0.25), radius * 0.45, shade(second, 1.5))


def _confetti(field: Field) -> None:
    canvas, unit, base, second, rng = field.canvas, field.unit, field.base, field.second, field.rng
    colours = (second, shade(second, 0.6), shade(second, 1.5), shade(base, 0.7))
    for _ in range(int(22 * canvas.shape[1] / unit)):
        x, y = rng.random() * canvas.shape[1], rng.random() * canvas.shape[0]
        radii = np.full(int(rng.integers(3, 5)), unit * rng.uniform(0.02, 0.07))
        fill(canvas, np.add(polar(radii, rng.uniform(0, 3)), (x, y)), colours[int(rng.integers(4))])


def _rings(field: Field) -> None:
    canvas, unit, base, second, rng = field.canvas, field.unit, field.base, field.second, field.rng
    height, width = canvas.shape[:2]
    at, step = rng.uniform(0.3, 0.8) * height, unit * rng.uniform(0.12, 0.25)
    for front in range(max(1, round(width / unit))):
        left, right = int(front * unit), int((front + 1) * unit) + 1
        for index in range(9, 0, -1):
            disc(canvas[:, left:right], (unit / 2, at), index * step, second if index % 2 else base)


def _kraft(field: Field) -> None:
    canvas, unit, rng = field.canvas, field.unit, field.rng
    height, width = canvas.shape[:2]
    paper = np.asarray((196, 160, 116), np.float32) + 10 * noise_field(height, width, unit / 4, rng)[..., None]
    canvas[:] = np.clip(paper + rng.normal(0, 7, (height, width, 1)), 0, 255).astype(np.uint8)


def _marble(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    height, width = canvas.shape[:2]
    clouds = noise_field(height, width, unit * float(rng.uniform(0.2, 0.6)), rng)
    vein = np.clip(1.0 - np.abs(clouds) * float(rng.uniform(3, 9)), 0, 1) if rng.random() < 0.5 else (clouds > 0)
    blend(canvas, second, vein.astype(np.float32))


def _scatter(field: Field) -> None:
    canvas, unit, base, second, rng = field.canvas, field.unit, field.base, field.second, field.rng
    name = str(rng.choice(["leaf", "star", "drop", "heart", "flower", "snow", "orange", "wheat"]))
    columns, step = _grid(canvas, unit, int(rng.integers(3, 6)))
    for row in range(int(canvas.shape[0] / step) + 2):
        for column in range(columns + 1):
            draw_icon(name, Pen(canvas, (column + 0.5 * (row % 2)) * step, row * step, step * 0.3, second, base))


def _triangles(field: Field) -> None:
    canvas, unit, second, rng = field.canvas, field.unit, field.second, field.rng
    columns, step = _grid(canvas, unit, int(rng.integers(2, 5)))
    for row in range(int(canvas.shape[0] / step) + 1):
        for column in range(columns):
            x, y, mix = column * step, row * step, float(rng.uniform(0.7, 1.4))
            corner = np.array([[0, 0], [1, 0], [0, 1]]) if rng.random() < 0.5 else np.array([[1, 1], [1, 0], [0, 1]])
            fill(canvas, corner * step + (x, y), shade(second, mix))


_PAINT: dict[str, Callable[[Field], None]] = {
    "gradient": _gradient, "halves": _halves, "diagonal": _ramp, "wave": _hills, "hills": _hills, "stripes": _stripes,
    "pinstripes": _pinstripes, "slant": _slant, "dots": _dots, "checks": _checks, "rays": _rays, "zigzag": _zigzag,
    "bubbles": _bubbles, "confetti": _confetti, "rings": _rings, "kraft": _kraft, "marble": _marble,
    "scatter": _scatter, "bands": _bands, "triangles": _triangles,
}  # fmt: skip


def paint_pattern(name: str, field: Field) -> None:
    """Fills the field with its `base` and the pattern `name` (one of `designs.PATTERNS`) in its `second` colour."""
    field.canvas[:] = field.base
    if name != "plain":
        _PAINT[name](field)

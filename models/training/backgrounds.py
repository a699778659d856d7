"""Places to put products: shelves, tables, tiles and walls, with things about that are no products."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.patterns import noise_field

Canvas = NDArray[np.uint8]


def draw_background(size: tuple[int, int], rng: np.random.Generator, clutter: float = 0.5) -> Canvas:
    """One background (height, width, 3). `clutter` 0 is a plain wall, 1 a busy place."""
    height, width = size
    kinds = (_gradient, _wood, _tiles, _plaster, _shelf, _blurred_shapes, _cloth)
    canvas = np.ascontiguousarray(kinds[int(rng.integers(len(kinds)))](height, width, rng))
    for _ in range(rng.poisson(5 * clutter)):
        _distract(canvas, rng)
    if rng.random() < 0.5:
        canvas = _uneven_light(canvas, rng)
    return canvas


def crop_background(photo: Canvas, size: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """A random part of a photo, as a background of that size."""
    height, width = size
    share = rng.uniform(0.5, 1.0)
    h, w = max(8, int(photo.shape[0] * share)), max(8, int(photo.shape[1] * share))
    y, x = int(rng.integers(0, photo.shape[0] - h + 1)), int(rng.integers(0, photo.shape[1] - w + 1))
    return np.asarray(cv2.resize(photo[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _colour(rng: np.random.Generator, low: float = 40, high: float = 235, spread: float = 30) -> NDArray[np.float32]:
    return np.clip(rng.uniform(low, high) + rng.normal(0, spread, 3), 0, 255).astype(np.float32)


def _gradient(height: int, width: int, rng: np.random.Generator) -> Canvas:
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    first, second = _colour(rng), _colour(rng)
    column = first * (1 - ramp) + second * ramp
    return np.broadcast_to(column, (height, width, 3)).astype(np.uint8)


def _wood(height: int, width: int, rng: np.random.Generator) -> Canvas:
    base = np.array([rng.uniform(110, 210), rng.uniform(75, 150), rng.uniform(40, 105)], np.float32)
    grain = noise_field(height, width, max(4.0, width / 3), rng)
    fibres = cv2.resize(rng.normal(0, 1, (height, max(2, width // 24))).astype(np.float32), (width, height))
    lines = np.sin(12 * grain + np.linspace(0, rng.uniform(20, 60), height, dtype=np.float32)[:, None])
    canvas = base * (1 + 0.06 * lines + 0.05 * fibres)[..., None]
    plank = int(height / rng.uniform(2, 6)) + 1
    canvas[::plank] *= 0.55
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _tiles(height: int, width: int, rng: np.random.Generator) -> Canvas:
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = _colour(rng, 80, 240, 14)
    cell_h, cell_w = int(rng.uniform(0.08, 0.3) * height) + 2, int(rng.uniform(0.08, 0.4) * width) + 2
    bricks = rng.random() < 0.5
    for row, top in enumerate(range(0, height, cell_h)):
        offset = cell_w // 2 if bricks and row % 2 else 0
        for left in range(-offset, width, cell_w):
            canvas[top : top + cell_h, max(0, left) : left + cell_w] *= rng.uniform(0.9, 1.06)
            canvas[top : top + cell_h, max(0, left) : max(0, left) + 2] *= 0.7
        canvas[top : top + 2] *= 0.7
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _plaster(height: int, width: int, rng: np.random.Generator) -> Canvas:
    rough = noise_field(height, width, rng.uniform(3, max(6.0, width / 6)), rng)
    canvas = _colour(rng) * (0.85 + 0.3 * rough)[..., None]
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _cloth(height: int, width: int, rng: np.random.Generator) -> Canvas:
    first, second = _colour(rng), _colour(rng)
    pitch = rng.uniform(8, 40)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    weave = (np.sin(xs * 2 * np.pi / pitch) > 0).astype(np.float32) * 0.5
    if rng.random() < 0.6:
        weave += (np.sin(ys * 2 * np.pi / pitch) > 0).astype(np.float32) * 0.5
    return (first * (1 - weave[..., None]) + second * weave[..., None]).astype(np.uint8)


def _shelf(height: int, width: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(height, width, rng).astype(np.float32) * 0.75
    board, boards = _colour(rng, 120, 240, 12), int(rng.integers(1, 4))
    thick = max(4, int(height * rng.uniform(0.025, 0.06)))
    for number in range(boards):
        top = int((number + rng.uniform(0.75, 0.95)) * height / boards)
        canvas[top : top + thick] = board
        canvas[top + thick : top + 2 * thick] *= 0.6
        for left in range(int(rng.integers(5, 40)), width, int(rng.integers(60, 160))):
            tag = (slice(top, top + thick), slice(left, left + thick * 2))
            canvas[tag] = (250, 250, 245)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _blurred_shapes(height: int, width: int, rng: np.random.Generator) -> Canvas:
    canvas = np.ascontiguousarray(_gradient(height, width, rng))
    for _ in range(int(rng.integers(6, 22))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (int(rng.uniform(0.03, 0.25) * width), int(rng.uniform(0.03, 0.25) * height))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, _colour(rng, 20, 250, 60).tolist(), -1)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(6, 18)), np.uint8)


def _distract(canvas: Canvas, rng: np.random.Generator) -> None:
    """A flat shape, a line or illegible writing: what a detector must learn to leave alone."""
    height, width = canvas.shape[:2]
    colour = _colour(rng, 20, 250, 50).tolist()
    x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    choice = rng.random()
    if choice < 0.35:
        end = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        cv2.line(canvas, (x, y), end, colour, int(rng.integers(1, 6)), cv2.LINE_AA)
    elif choice < 0.65:
        points = np.array([[x, y]]) + rng.normal(0, 0.07 * width, (int(rng.integers(3, 6)), 2))
        layer = canvas.copy()
        cv2.fillPoly(layer, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)
        cv2.addWeighted(layer, rng.uniform(0.3, 0.8), canvas, 0.4, 0, dst=canvas)
    else:
        for row in range(int(rng.integers(2, 6))):
            at = x
            while at < x + 0.2 * width:
                word = int(rng.uniform(4, 22))
                cv2.line(canvas, (at, y + row * 8), (at + word, y + row * 8), colour, 2)
                at += word + 5


def _uneven_light(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    height, width = canvas.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(xs / width - rng.uniform(0, 1), ys / height - rng.uniform(0, 1))
    return np.clip(canvas * (1.12 - rng.uniform(0.2, 0.6) * distance)[..., None], 0, 255).astype(np.uint8)

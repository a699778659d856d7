"""Places to put products: shelves, tables, tiles and walls, with things about that are no products."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.patterns import noise_field

Canvas = NDArray[np.uint8]
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Backdrop:
    """An empty place. `boards` are the heights (pixels from the top) that things can stand at, far ones first.

    Without boards, things lie or hang anywhere.
    """

    image: Canvas  # (H, W, 3)
    boards: tuple[int, ...]


def draw_backdrop(size: tuple[int, int], rng: np.random.Generator, clutter: float = 0.5) -> Backdrop:
    """One place of `size` (height, width). `clutter` 0 is bare, 1 a busy place."""
    height, width = size
    boards: tuple[int, ...] = ()
    choice = rng.random()
    if choice < 0.3:
        picture, boards = _shelf(height, width, rng)
    elif choice < 0.6:
        picture, boards = _table(height, width, rng)
    else:
        picture = _surface(height, width, rng)
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(rng.poisson(5 * clutter)):
        _distract(canvas, rng)
    if rng.random() < 0.5:
        canvas = _unevenly_lit(canvas, rng)
    return Backdrop(canvas, boards)


def crop_backdrop(photo: Canvas, size: tuple[int, int], rng: np.random.Generator) -> Backdrop:
    """A random part of an RGB photo, as a place of `size` (height, width)."""
    fraction = rng.uniform(0.5, 1.0)
    h, w = max(8, int(photo.shape[0] * fraction)), max(8, int(photo.shape[1] * fraction))
    y, x = (int(rng.integers(0, max(0, full - part) + 1)) for full, part in zip(photo.shape, (h, w), strict=False))
    part = np.ascontiguousarray(photo[y : y + h, x : x + w])
    return Backdrop(np.asarray(cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8), ())


def _colour(rng: np.random.Generator, low: float = 40, high: float = 240, spread: float = 22) -> Picture:
    return np.clip(rng.uniform(low, high) + rng.normal(0, spread, 3), 0, 255).astype(np.float32)


def _surface(height: int, width: int, rng: np.random.Generator) -> Picture:
    kinds = (_gradient, _wood, _tiles, _plaster, _shapes, _cloth, _polygons)
    return kinds[int(rng.integers(len(kinds)))](height, width, rng)


def _gradient(height: int, width: int, rng: np.random.Generator) -> Picture:
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    first = _colour(rng, 60, 250)
    second = np.clip(first + rng.normal(0, 30), 0, 255).astype(np.float32) if rng.random() < 0.7 else _colour(rng)
    return np.broadcast_to(first * (1 - ramp) + second * ramp, (height, width, 3)).copy()


def _wood(height: int, width: int, rng: np.random.Generator) -> Picture:
    tone = rng.uniform(0.45, 1.1)
    base = np.array([200, rng.uniform(140, 175), rng.uniform(85, 130)], np.float32) * np.float32(tone)
    grain = noise_field(height, width, max(4.0, width / 3), rng)
    fibres = rng.standard_normal((height, max(2, width // 24)), dtype=np.float32)
    fibres = np.asarray(cv2.resize(fibres, (width, height)), np.float32)
    lines = np.sin(12 * grain + np.linspace(0, rng.uniform(20, 60), height, dtype=np.float32)[:, None])
    picture = base * (1 + 0.06 * lines + 0.045 * fibres)[..., None]
    plank = int(height / rng.uniform(2, 6)) + 1
    for row, top in enumerate(range(0, height, plank)):
        picture[top : top + plank] *= np.float32(1 + 0.06 * np.sin(row * 2.4))
        picture[top : top + max(1, height // 240)] *= np.float32(0.6)
    return np.asarray(picture, np.float32)


def _tiles(height: int, width: int, rng: np.random.Generator) -> Picture:
    picture = np.empty((height, width, 3), np.float32)
    bricks = rng.random() < 0.5
    picture[:] = (
        np.array([rng.uniform(130, 190), rng.uniform(70, 110), rng.uniform(55, 90)])
        if bricks and rng.random() < 0.5
        else _colour(rng, 80, 245, 12)
    )
    cell_h, cell_w = int(rng.uniform(0.08, 0.3) * height) + 2, int(rng.uniform(0.1, 0.4) * width) + 2
    joint, gap = np.float32(rng.choice([0.6, 0.75, 1.12])), max(2, min(height, width) // 120)
    for row, top in enumerate(range(0, height, cell_h)):
        for left in range(-(cell_w // 2) if bricks and row % 2 else 0, width, cell_w):
            picture[top : top + cell_h, max(0, left) : left + cell_w] *= np.float32(rng.uniform(0.9, 1.06))
            picture[top : top + cell_h, max(0, left) : max(0, left) + gap] *= joint
        picture[top : top + gap] *= joint
    return picture


def _plaster(height: int, width: int, rng: np.random.Generator) -> Picture:
    rough = noise_field(height, width, float(rng.uniform(3, max(6.0, width / 5))), rng)
    return np.asarray(_colour(rng, 60) * (1 + np.float32(rng.uniform(0.05, 0.3)) * rough)[..., None], np.float32)


def _cloth(height: int, width: int, rng: np.random.Generator) -> Picture:
    first, second = _colour(rng, spread=35), _colour(rng, spread=35)
    turns = 2 * np.pi / (min(height, width) * rng.uniform(0.02, 0.15))
    stripes = (np.sin(np.arange(width) * turns) > 0).astype(np.float32)[None, :] * 0.5
    weave = np.broadcast_to(stripes, (height, width))
    if rng.random() < 0.6:
        weave = weave + (np.sin(np.arange(height) * turns) > 0).astype(np.float32)[:, None] * 0.5
    return np.asarray(first + (second - first) * weave[..., None], np.float32)


def _shapes(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Things far in the background, out of focus."""
    small = _gradient(height // 2, width // 2, rng)
    for _ in range(int(rng.integers(6, 22))):
        centre = int(rng.uniform(0, width / 2)), int(rng.uniform(0, height / 2))
        axes = int(rng.uniform(0.03, 0.25) * width / 2) + 1, int(rng.uniform(0.03, 0.25) * height / 2) + 1
        cv2.ellipse(small, centre, axes, rng.uniform(0, 180), 0, 360, _colour(rng, 20, 250, 60).tolist(), -1)
    blurred = cv2.GaussianBlur(small, (0, 0), min(height, width) * rng.uniform(0.008, 0.025) + 0.5)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _polygons(height: int, width: int, rng: np.random.Generator) -> Picture:
    picture = _gradient(height, width, rng)
    for _ in range(int(rng.integers(3, 10))):
        middle = rng.uniform(0, 1, 2) * (width, height)
        points = np.round(middle + rng.normal(0, 0.25, (int(rng.integers(3, 6)), 2)) * (width, height)).astype(np.int32)
        cv2.fillConvexPoly(picture, cv2.convexHull(points), _colour(rng, 40, 240, 30).tolist(), cv2.LINE_AA)
    return picture


def _table(height: int, width: int, rng: np.random.Generator) -> tuple[Picture, tuple[int, ...]]:
    """A wall and a table before it, seen a little from above."""
    edge = int(height * rng.uniform(0.35, 0.65))
    picture = _surface(height, width, rng)
    kinds = (_wood, _plaster, _gradient, _tiles)
    top = kinds[int(rng.integers(len(kinds)))](height - edge, width, rng)
    lean = width * rng.uniform(0.1, 0.5)
    source = np.array([[0, 0], [width, 0], [width, height - edge], [0, height - edge]], np.float32)
    spread = source + np.array([[0, 0], [0, 0], [lean, 0], [-lean, 0]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, spread)
    picture[edge:] = cv2.warpPerspective(top, matrix, (width, height - edge), borderMode=cv2.BORDER_REFLECT)
    picture[edge : edge + max(1, height // 150)] *= np.float32(0.7)
    first = edge + int(0.25 * (height - edge))
    return picture, tuple(int(board) for board in np.linspace(first, height - 2, 8))


def _shelf(height: int, width: int, rng: np.random.Generator) -> tuple[Picture, tuple[int, ...]]:
    """Boards with price tags before a shaded back wall."""
    picture = _gradient(height, width, rng) * np.float32(0.8)
    board, boards = _colour(rng, 120, 245, 12), int(rng.integers(1, 4))
    thick = max(4, int(height * rng.uniform(0.025, 0.06)))
    tops = [int((number + rng.uniform(0.82, 0.95)) * height / boards) for number in range(boards)]
    above = 0
    for top in tops:
        shade = np.linspace(0.55, 1.0, max(1, top - above), dtype=np.float32)[:, None, None]
        picture[above:top] *= shade ** np.float32(0.5)
        picture[top : top + thick] = board
        picture[top : top + max(1, thick // 6)] = np.minimum(board * 1.12, 255)
        for left in range(int(rng.integers(5, 40)), width, int(rng.integers(60, 160))):
            tag = picture[top + thick // 8 : top + thick - thick // 8, left : left + thick * 2]
            tag[:] = (250, 250, 245) if rng.random() < 0.7 else (250, 220, 60)
            tag[len(tag) // 3 : 2 * len(tag) // 3, thick // 3 : thick] = 60
        above = top + thick
    return picture, tuple(top + max(1, thick // 8) for top in tops)


def _distract(canvas: Canvas, rng: np.random.Generator) -> None:
    """A flat shape, a line or illegible writing: what a detector must learn to leave alone."""
    height, width = canvas.shape[:2]
    colour = _colour(rng, 20, 250, 50).tolist()
    x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    small = min(height, width)
    choice = rng.random()
    if choice < 0.35:
        end = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        cv2.line(canvas, (x, y), end, colour, 1 + int(small * rng.uniform(0, 0.012)), cv2.LINE_AA)
    elif choice < 0.65:
        points = np.round(np.array([x, y]) + rng.normal(0, 0.07 * small, (int(rng.integers(3, 6)), 2))).astype(np.int32)
        left, top, w, h = cv2.boundingRect(points)
        part = canvas[max(0, top) : top + h, max(0, left) : left + w]
        if part.size:
            layer = part.copy()
            cv2.fillPoly(layer, [points - (max(0, left), max(0, top))], colour, cv2.LINE_AA)
            fraction = rng.uniform(0.3, 0.9)
            part[:] = cv2.addWeighted(layer, fraction, part, 1 - fraction, 0)
    else:
        step = max(4, small // 50)
        for row in range(int(rng.integers(2, 6))):
            at = x
            while at < x + 0.2 * width:
                word = int(rng.uniform(0.5, 3) * step)
                cv2.line(canvas, (at, y + row * step), (at + word, y + row * step), colour, max(1, step // 4))
                at += word + step // 2


def _unevenly_lit(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    height, width = canvas.shape[:2]
    across = (np.arange(width, dtype=np.float32) / width - np.float32(rng.uniform(0, 1)))[None, :]
    down = (np.arange(height, dtype=np.float32) / height - np.float32(rng.uniform(0, 1)))[:, None]
    light = np.float32(1.1) - np.float32(rng.uniform(0.15, 0.5)) * np.sqrt(across**2 + down**2)
    return np.asarray(np.clip(canvas * light[..., None], 0, 255), np.uint8)

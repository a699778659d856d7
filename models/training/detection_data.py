"""Pictures with boxes to train a detector on: rendered scenes and annotated photos, drawn once into a pool, then varied.

Rendering a scene costs more than a training step on it. So a fixed pool is made before training, on disk
(memory-mapped), every picture stretched to one square, and each step takes random changes of its pictures, decided by
(seed, step) alone: a resumed run sees the same ones.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.cutouts import cut_out
from models.training.designs import design_product
from models.training.photos import DatasetError, read_list, read_rgb
from models.training.scenes import Source, render_scene

Progress = Callable[[str, int, int], None]  # what, done, of
Array = NDArray[np.float32]
VISIBLE = 0.35  # a box cropped below this share of its area is no object any more
SMALLEST_PX = 4.0


@dataclass(frozen=True)
class Picture:
    """An RGB image (H, W, 3) and the boxes (G, 4) of its main bodies in pixels, x2 and y2 exclusive."""

    image: NDArray[np.uint8]
    boxes: Array


@dataclass(frozen=True)
class PictureSource:
    """Where pictures come from.

    "rendered": scenes of drawn products. "cutouts": scenes of products cut out of gallery photos on plain backgrounds, so
    that gallery pictures alone train a detector. "voc": photos with VOC annotations.
    """

    kind: str
    name: str
    share: float = 1.0  # of a batch, relative to the other sources
    # rendered and cutouts: how many scenes
    count: int = 0
    first_seed: int = 0
    # voc: images/*.jpg beside annotations/*.xml; cutouts: the folder that the list is relative to
    root: str = ""
    file: str = ""  # cutouts: a list of `path<delimiter>label`
    delimiter: str = "\t"
    holdout: bool = False  # leave every second photo, in sorted order, out of training


@dataclass(frozen=True)
class PicturePool:
    """N square pictures; the boxes of picture i are `boxes[starts[i]:starts[i + 1]]`, as shares of its sides."""

    images: NDArray[np.uint8]  # (N, s, s, 3), memory-mapped
    boxes: Array  # (T, 4) in 0 .. 1
    starts: NDArray[np.int64]  # (N + 1,)
    sources: NDArray[np.int64]  # (N,)

    def picture(self, index: int) -> Picture:
        """Picture `index`, its boxes in pixels."""
        boxes = self.boxes[self.starts[index] : self.starts[index + 1]]
        return Picture(self.images[index], boxes * np.float32(self.images.shape[1]))


@dataclass(frozen=True)
class Variation:
    """How far a training picture may be changed."""

    zoom: tuple[float, float] = (0.6, 1.7)
    aspect: float = 1.3
    flip: float = 0.5
    mosaic: float = 0.3
    gain: float = 0.3
    grey: float = 0.05
    blur: float = 0.15
    noise: float = 0.2


def build_pool(
    sources: tuple[PictureSource, ...],
    size_px: int,
    data: Path | None,
    folder: Path,
    progress: Progress,
    processes: int = 1,
) -> None:
    """Make the pool in `folder`. An interrupted build starts again; a finished one is kept."""
    done = folder / "pool.json"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    total = sum(_count(source, data) for source in sources)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (total, size_px, size_px, 3))
    boxes, starts, origin = [np.zeros((0, 4), np.float32)], np.zeros(total + 1, np.int64), np.zeros(total, np.int64)
    filled = 0
    for index, source in enumerate(sources):
        for picture in _pictures(source, size_px, data, processes):
            square = to_square(picture, size_px)
            images[filled], origin[filled] = square.image, index
            boxes.append(square.boxes / np.float32(size_px))
            filled += 1
            starts[filled] = starts[filled - 1] + len(square.boxes)
            progress(source.name, filled, total)
    images.flush()
    np.savez(folder / "boxes.npz", boxes=np.concatenate(boxes), starts=starts, sources=origin)
    done.write_text(json.dumps({"pictures": total}), encoding="utf-8")


def load_pool(folder: Path) -> PicturePool:
    """Open what `build_pool` made."""
    with np.load(folder / "boxes.npz", allow_pickle=False) as stored:
        boxes, starts, sources = stored["boxes"], stored["starts"], stored["sources"]
    return PicturePool(np.load(folder / "images.npy", mmap_mode="r"), boxes, starts, sources)


class BatchMaker:
    """Draws pictures by the sources' shares, and a random change of each."""

    def __init__(self, pool: PicturePool, shares: tuple[float, ...], seed: int, variation: Variation) -> None:
        self.pool, self.seed, self.variation = pool, seed, variation
        counts = np.bincount(pool.sources, minlength=len(shares))
        weight = (np.asarray(shares) / np.maximum(counts, 1))[pool.sources]
        self._cumulated = np.cumsum(weight / weight.sum())

    def __call__(self, step: int, batch: int, size_px: int) -> tuple[NDArray[np.uint8], list[Array]]:
        """(batch, size_px, size_px, 3) RGB and each picture's boxes in pixels, for that step."""
        rng = np.random.default_rng([self.seed, step])
        made = [self._one(rng, size_px) for _ in range(batch)]
        return np.stack([picture.image for picture in made]), [picture.boxes for picture in made]

    def _one(self, rng: np.random.Generator, size_px: int) -> Picture:
        if rng.random() < self.variation.mosaic:
            picture = mosaic([self._draw(rng) for _ in range(4)], size_px, rng)
        else:
            picture = self._draw(rng)
        return vary(picture, size_px, rng, self.variation)

    def _draw(self, rng: np.random.Generator) -> Picture:
        index = int(np.searchsorted(self._cumulated, rng.random() * self._cumulated[-1], side="right"))
        return self.pool.picture(min(index, len(self.pool.sources) - 1))


def read_voc(root: Path, holdout: bool = False, held_out: bool = False) -> list[Picture]:
    """Photos with VOC annotations: all, those left for training (`holdout`), or those to measure on (`held_out`)."""
    annotations = _annotations(root)
    if holdout or held_out:
        annotations = annotations[1 if held_out else 0 :: 2]
    return [_read_annotated(root, path) for path in annotations]


def to_square(picture: Picture, size_px: int) -> Picture:
    """Stretched to a square without keeping the ratio, as the served detector sees every photo."""
    height, width = picture.image.shape[:2]
    interpolation = cv2.INTER_AREA if min(height, width) > size_px else cv2.INTER_LINEAR
    image = cv2.resize(picture.image, (size_px, size_px), interpolation=interpolation)
    scale = np.array([size_px / width, size_px / height] * 2, np.float32)
    return Picture(np.asarray(image, np.uint8), picture.boxes.reshape(-1, 4).astype(np.float32) * scale)


def mosaic(pictures: list[Picture], size_px: int, rng: np.random.Generator) -> Picture:
    """Four pictures in the quadrants around a random middle, each stretched to its own."""
    x, y = (int(size_px * share) for share in rng.uniform(0.35, 0.65, 2))
    canvas = np.empty((size_px, size_px, 3), np.uint8)
    boxes = []
    for picture, (left, top, right, bottom) in zip(
        pictures,
        ((0, 0, x, y), (x, 0, size_px, y), (0, y, x, size_px), (x, y, size_px, size_px)),
        strict=True,
    ):
        height, width = picture.image.shape[:2]
        part = cv2.resize(picture.image, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        canvas[top:bottom, left:right] = part
        scale = np.array([(right - left) / width, (bottom - top) / height] * 2, np.float32)
        boxes.append(picture.boxes * scale + np.array([left, top] * 2, np.float32))
    return Picture(canvas, np.concatenate(boxes))


def vary(picture: Picture, size_px: int, rng: np.random.Generator, variation: Variation) -> Picture:
    """One random view: zoomed, shifted, flipped, re-lit; of size_px x size_px."""
    height, width = picture.image.shape[:2]
    zoom = np.exp(rng.uniform(*np.log(variation.zoom)))
    stretch = np.exp(rng.uniform(-1.0, 1.0) * np.log(variation.aspect))
    scale = np.array([zoom * stretch / width, zoom / stretch / height]) * size_px
    spare = size_px - scale * (width, height)  # negative: the view shows a part
    shift = rng.uniform(0.0, 1.0, 2) * spare
    mirror = rng.random() < variation.flip
    sign = -1.0 if mirror else 1.0
    offset = np.array([size_px - shift[0] if mirror else shift[0], shift[1]])
    matrix = np.zeros((2, 3))
    matrix[0, 0], matrix[1, 1] = sign * scale[0], scale[1]
    # Boxes measure from a pixel's edge, the warp from its centre.
    matrix[:, 2] = offset + np.array([sign, 1.0]) * scale / 2 - 0.5
    fill = tuple(int(value) for value in rng.integers(0, 256, 3))
    border = cv2.BORDER_REFLECT_101 if len(picture.boxes) == 0 else cv2.BORDER_CONSTANT
    image = cv2.warpAffine(
        picture.image, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=fill
    )
    corners = picture.boxes[:, [2, 1, 0, 3]] if mirror else picture.boxes
    moved = corners * np.tile(scale * (sign, 1.0), 2) + np.tile(offset, 2)
    return Picture(_relight(np.asarray(image, np.uint8), rng, variation), visible(moved.astype(np.float32), size_px))


def visible(boxes: Array, size_px: int) -> Array:
    """The boxes clipped to the picture, without those of which too little is left."""
    clipped = np.clip(boxes, 0, size_px)
    sides, whole = clipped[:, 2:] - clipped[:, :2], boxes[:, 2:] - boxes[:, :2]
    share = np.prod(sides, axis=1) / np.maximum(np.prod(whole, axis=1), 1e-6)
    return np.asarray(clipped[(share >= VISIBLE) & (sides.min(axis=1, initial=np.inf) >= SMALLEST_PX)], np.float32)


def _relight(image: NDArray[np.uint8], rng: np.random.Generator, variation: Variation) -> NDArray[np.uint8]:
    """Exposure, contrast, gamma and tint by one look-up table a channel; then grey, blur or noise at times."""
    gain, contrast = 1.0 + rng.uniform(-variation.gain, variation.gain, 2)
    ramp = np.linspace(0.0, 1.0, 256) ** np.exp(rng.uniform(-0.3, 0.3))
    ramp = ((ramp - 0.5) * contrast + 0.5) * gain
    tables = ramp[:, None] * (1.0 + rng.normal(0.0, 0.06, 3))
    image = np.asarray(cv2.LUT(image, np.clip(tables * 255.0, 0, 255).astype(np.uint8)[None]), np.uint8)
    if rng.random() < variation.grey:
        image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    if rng.random() < variation.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < variation.noise:
        noise = rng.normal(0.0, rng.uniform(2, 12), (*image.shape[:2], 1)).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _annotations(root: Path) -> list[Path]:
    paths = sorted((root / "annotations").glob("*.xml"))
    if not paths:
        raise DatasetError(f"no annotations/*.xml in {root.name}")
    return paths


def _read_annotated(root: Path, annotation: Path) -> Picture:
    """VOC counts pixels from 1 and includes the last; ours are from 0, the end excluded."""
    try:
        tree = ElementTree.parse(annotation)  # noqa: S314  # a data set's own files, and expat bounds entity expansion
        name = tree.findtext("filename") or ""
        corners = [
            [float(box.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax")]
            for box in tree.iter("bndbox")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"{annotation.name}: {error}") from error
    boxes = np.asarray(corners, np.float32).reshape(-1, 4) - np.array([1, 1, 0, 0], np.float32)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise DatasetError(f"{annotation.name}: a box is empty or incomplete")
    image = read_rgb(root / "images" / name)
    height, width = image.shape[:2]
    return Picture(image, np.clip(boxes, 0, np.array([width, height] * 2)).astype(np.float32))


def _count(source: PictureSource, data: Path | None) -> int:
    if source.kind in ("rendered", "cutouts"):
        return source.count
    return len(_training_annotations(source, data))


def _training_annotations(source: PictureSource, data: Path | None) -> list[Path]:
    paths = _annotations(_root(source, data))
    return paths[0::2] if source.holdout else paths


def _root(source: PictureSource, data: Path | None) -> Path:
    if data is None:
        raise DatasetError(f"the recipe's source {source.name!r} needs a data folder (--data)")
    return data / source.root


def rendered_pictures(first_seed: int, count: int, size_px: int, processes: int = 1) -> Iterator[Picture]:
    """Scenes of the seeds from `first_seed` on, drawn at `size_px` or more."""
    seeds = range(first_seed, first_seed + count)
    if processes == 1:
        yield from map(partial(_render, size_px=size_px), seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        yield from executor.map(partial(_render, size_px=size_px), seeds, chunksize=16)


def _render(seed: int, size_px: int) -> Picture:
    """A scene of products that seeds of their own decide, in a random shape of picture."""
    rng = np.random.default_rng([seed, 31])
    sources: list[Source] = [(str(design), design_product(int(design))) for design in rng.integers(0, 1 << 20, 5)]
    return _scene(sources, size_px, rng)


def _render_cutouts(seed: int, size_px: int, cuts: list[tuple[str, NDArray[np.uint8]]]) -> Picture:
    """A scene of products cut out of photos."""
    rng = np.random.default_rng([seed, 32])
    sources: list[Source] = [cuts[int(index)] for index in rng.permutation(len(cuts))[:5]]
    return _scene(sources, size_px, rng)


def _cut_outs(source: PictureSource, data: Path | None) -> list[tuple[str, NDArray[np.uint8]]]:
    """What stands before a plain background in the photos of a list; the others are passed over."""
    root = _root(source, data)
    photos = read_list(root, source.file, source.delimiter)
    cuts = [(photo.name, cut_out(read_rgb(photo.path))) for photo in photos]
    found = [(name, cut) for name, cut in cuts if cut is not None]
    if not found:
        raise DatasetError(f"no photo of {source.name!r} stands before a plain background, so nothing can be cut out")
    return found


def _scene(sources: list[Source], size_px: int, rng: np.random.Generator) -> Picture:
    shape = np.exp(rng.uniform(-0.35, 0.35))
    size = (round(size_px * max(1.0, shape)), round(size_px * max(1.0, 1 / shape)))
    scene = render_scene(sources, size, rng, clutter=float(rng.uniform(0.1, 1.0)), scale=(0.12, 0.9))
    return Picture(scene.image, np.asarray(scene.boxes, np.float32).reshape(-1, 4))


def _pictures(source: PictureSource, size_px: int, data: Path | None, processes: int) -> Iterator[Picture]:
    if source.kind == "rendered":
        yield from rendered_pictures(source.first_seed, source.count, size_px, processes)
        return
    if source.kind == "cutouts":
        render = partial(_render_cutouts, size_px=size_px, cuts=_cut_outs(source, data))
        yield from map(render, range(source.first_seed, source.first_seed + source.count))
        return
    root = _root(source, data)
    for path in _training_annotations(source, data):
        yield _read_annotated(root, path)

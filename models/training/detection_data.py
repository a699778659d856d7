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

import numpy as np
from numpy.typing import NDArray

from models.training.cutouts import cut_out
from models.training.designs import design_product
from models.training.detection_views import Picture, Variation, mosaic, to_square, vary
from models.training.photos import DatasetError, Photo, read_rgb
from models.training.pseudo_boxes import BoxTeacher
from models.training.readers.lists import read_list
from models.training.scenes import Source, render_scene

Progress = Callable[[str, int, int], None]  # what, done, of
Array = NDArray[np.float32]


@dataclass(frozen=True)
class PictureSource:
    """Where pictures come from.

    "rendered": scenes of drawn products. "cutouts": scenes of products cut out of gallery photos on plain backgrounds, so
    that gallery pictures alone train a detector. "voc": photos with VOC annotations. "photos": a list's photos with the
    boxes that a teacher is sure of; `holdout` keeps every fifth of them from training, in the list's order.
    """

    kind: str
    name: str
    share: float = 1.0  # of a batch, relative to the other sources
    # rendered and cutouts: how many scenes
    count: int = 0
    first_seed: int = 0
    # voc: images/*.jpg beside annotations/*.xml; cutouts: the folder that the list is relative to
    root: str = ""
    file: str = ""  # cutouts and photos: a list of `path<delimiter>label`
    delimiter: str = "\t"
    holdout: bool = False  # voc: leave every second photo, in sorted order, out of training
    teacher: str = ""  # photos: the teacher's file below the data folder


@dataclass(frozen=True)
class PicturePool:
    """N square pictures (and room for a few more); the boxes of picture i are `boxes[starts[i]:starts[i + 1]]`, as shares of its sides."""

    images: NDArray[np.uint8]  # (N, s, s, 3), memory-mapped
    boxes: Array  # (T, 4) in 0 .. 1
    starts: NDArray[np.int64]  # (N + 1,)
    sources: NDArray[np.int64]  # (N,)

    def picture(self, index: int) -> Picture:
        """Picture `index`, its boxes in pixels."""
        boxes = self.boxes[self.starts[index] : self.starts[index + 1]]
        return Picture(self.images[index], boxes * np.float32(self.images.shape[1]))


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
    np.savez(folder / "boxes.npz", boxes=np.concatenate(boxes), starts=starts[: filled + 1], sources=origin[:filled])
    done.write_text(json.dumps({"pictures": filled}), encoding="utf-8")


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


def read_taught(
    root: Path, file: str, delimiter: str, teacher: Path, *, held_out: bool | None = None
) -> Iterator[Picture]:
    """The photos of a list of whose boxes the teacher is sure: all, those to measure on, or (False) those to train on."""
    teach = BoxTeacher(teacher)
    for photo in _split(read_list(root, file, delimiter), held_out):
        image = read_rgb(photo.path)
        boxes = teach(image)
        if boxes is not None:
            yield Picture(image, boxes)


def read_voc(root: Path, holdout: bool = False, held_out: bool = False) -> list[Picture]:
    """Photos with VOC annotations: all, those left for training (`holdout`), or those to measure on (`held_out`)."""
    annotations = _annotations(root)
    if holdout or held_out:
        annotations = annotations[1 if held_out else 0 :: 2]
    return [_read_annotated(root, path) for path in annotations]


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


def _split(photos: list[Photo], held_out: bool | None) -> list[Photo]:
    """All photos, every fifth (True) or the others (False)."""
    return [photo for number, photo in enumerate(photos) if held_out is None or (number % 5 == 4) == held_out]


def _count(source: PictureSource, data: Path | None) -> int:
    if source.kind in ("rendered", "cutouts"):
        return source.count
    if source.kind == "photos":
        photos = read_list(_below(data, source.name, source.root), source.file, source.delimiter)
        return len(_split(photos, False if source.holdout else None))  # at most: some are passed over
    return len(_training_annotations(source, data))


def _training_annotations(source: PictureSource, data: Path | None) -> list[Path]:
    paths = _annotations(_below(data, source.name, source.root))
    return paths[0::2] if source.holdout else paths


def _below(data: Path | None, name: str, path: str) -> Path:
    if data is None:
        raise DatasetError(f"the recipe's source {name!r} needs a data folder (--data)")
    return data / path


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
    root = _below(data, source.name, source.root)
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
    root = _below(data, source.name, source.root)
    if source.kind == "photos":
        yield from read_taught(
            root,
            source.file,
            source.delimiter,
            _below(data, source.name, source.teacher),
            held_out=False if source.holdout else None,
        )
        return
    for path in _training_annotations(source, data):
        yield _read_annotated(root, path)

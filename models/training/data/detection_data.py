"""A detector's pictures rendered once into a pool, or read as they are needed, and random augmentations of them in batches.

Rendering a scene costs more than a training step on it. So a fixed pool is made before training, on disk
(memory-mapped), every picture stretched to one square, and each step takes random augmentations of its pictures, decided by
(seed, step) alone: a resumed run sees the same ones. A data set too large for that is read from its own files.
"""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.training.data.detection_sources import (
    Progress,
    annotated_photos,
    open_photo,
    picture_files,
    source_pictures,
)
from models.training.data.detection_views import Picture, mosaic, to_square, vary
from models.training.data.readers.boxes import BoxedPhoto
from models.training.data.readers.pictures import require_files, require_pictures
from models.training.recipes.detector_tables import SYNTHETIC, PictureSource, Variation

__all__ = ["BatchMaker", "FilePool", "PicturePool", "PictureSource", "Pool", "build_pool", "load_pool", "open_files"]

Array = NDArray[np.float32]


class Pool(Protocol):
    """Pictures by number."""

    @property
    def sources(self) -> NDArray[np.int64]:
        """(N,) which source each is of."""

    def picture(self, index: int) -> Picture:
        """Picture `index`, a square, its boxes in pixels."""


@dataclass(frozen=True)
class PicturePool:
    """N square pictures (and room for a few more); the boxes of picture i are `boxes[starts[i]:starts[i + 1]]`, as fractions of its sides."""

    images: NDArray[np.uint8]  # (N, s, s, 3), memory-mapped
    boxes: Array  # (T, 4) in 0 .. 1
    weights: Array  # (T,) as Picture's
    starts: NDArray[np.int64]  # (N + 1,)
    sources: NDArray[np.int64]  # (N,)

    def picture(self, index: int) -> Picture:
        """Picture `index`, its boxes in pixels."""
        own = slice(self.starts[index], self.starts[index + 1])
        return Picture(self.images[index], self.boxes[own] * np.float32(self.images.shape[1]), self.weights[own])


@dataclass(frozen=True)
class FilePool:
    """Annotated photos, decoded each time they are sampled."""

    photos: tuple[BoxedPhoto, ...]
    sources: NDArray[np.int64]  # (N,)
    size_px: int

    def picture(self, index: int) -> Picture:
        """Picture `index`, its boxes in pixels. Raises DatasetError for a broken file."""
        return to_square(open_photo(self.photos[index]), self.size_px)


def open_files(sources: tuple[PictureSource, ...], size_px: int, data: Path | None, progress: Progress) -> FilePool:
    """The photos of annotated sources where they are; each file is looked at (see `require_files`). Raises DatasetError."""
    found = [annotated_photos(source, data, progress) for source in sources]
    require_files((photo.path for photos in found for photo in photos), progress)
    origin = np.repeat(np.arange(len(found)), [len(photos) for photos in found])
    return FilePool(tuple(photo for photos in found for photo in photos), origin, size_px)


def build_pool(
    sources: tuple[PictureSource, ...],
    size_px: int,
    data: Path | None,
    folder: Path,
    progress: Progress,
    processes: int = 1,
) -> None:
    """Make the pool in `folder`. An interrupted build starts again; a finished one is kept.

    Every photo is decoded once before the first scene is rendered: raises one DatasetError for all that are broken.
    """
    done = folder / "pool.json"
    if done.exists():
        return
    files = [picture_files(source, data) for source in sources]
    require_pictures((path for some in files for path in some), progress, processes)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts = [
        source.count if source.kind in SYNTHETIC else len(some) for source, some in zip(sources, files, strict=True)
    ]
    total = sum(counts)  # at most: a teacher passes some over
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (total, size_px, size_px, 3))
    boxes, weights = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
    starts, origin = np.zeros(total + 1, np.int64), np.zeros(total, np.int64)
    filled = 0
    for index, source in enumerate(sources):
        for picture in source_pictures(source, size_px, data, processes, progress):
            square = to_square(picture, size_px)
            images[filled], origin[filled] = square.image, index
            boxes.append(square.boxes / np.float32(size_px))
            weights.append(square.certainty)
            filled += 1
            starts[filled] = starts[filled - 1] + len(square.boxes)
            progress(source.name, filled, total)
    images.flush()
    np.savez(
        folder / "boxes.npz",
        boxes=np.concatenate(boxes),
        weights=np.concatenate(weights),
        starts=starts[: filled + 1],
        sources=origin[:filled],
    )
    done.write_text(json.dumps({"pictures": filled}), encoding="utf-8")


def load_pool(folder: Path) -> PicturePool:
    """Open what `build_pool` made."""
    with np.load(folder / "boxes.npz", allow_pickle=False) as stored:
        boxes, starts, sources = stored["boxes"], stored["starts"], stored["sources"]
        weights = stored["weights"] if "weights" in stored.files else np.ones(len(boxes), np.float32)  # an older pool
    return PicturePool(np.load(folder / "images.npy", mmap_mode="r"), boxes, weights, starts, sources)


class BatchMaker:
    """Samples pictures by the sources' sampling weights, and a random augmentation of each.

    Each picture of a batch is decided by (seed, step, its place), so several processes can make a part each.
    """

    def __init__(
        self, pool: Pool, sampling_weights: tuple[float, ...], seed: int, variation: Variation, threads: int = 1
    ) -> None:
        self.pool, self.seed, self.variation = pool, seed, variation
        counts = np.bincount(pool.sources, minlength=len(sampling_weights))
        weight = (np.asarray(sampling_weights) / np.maximum(counts, 1))[pool.sources]
        self._cumulated = np.cumsum(weight / weight.sum())
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None

    def __call__(
        self, step: int, batch: int, size_px: int, rank: int = 0, size: int = 1
    ) -> tuple[NDArray[np.uint8], list[Picture]]:
        """(B, size_px, size_px, 3) RGB and the pictures themselves, for that step: every `size`-th of `batch`, from `rank`."""
        each = self._threads.map if self._threads else map
        made = list(each(lambda place: self._one(step, place, size_px), range(rank, batch, size)))
        return np.stack([picture.image for picture in made]), made

    def _one(self, step: int, place: int, size_px: int) -> Picture:
        rng = np.random.default_rng([self.seed, step, place, 4])
        if rng.random() < self.variation.mosaic:
            picture = mosaic([self._sample(rng) for _ in range(4)], size_px, rng)
        else:
            picture = self._sample(rng)
        return vary(picture, size_px, rng, self.variation)

    def _sample(self, rng: np.random.Generator) -> Picture:
        index = int(np.searchsorted(self._cumulated, rng.random() * self._cumulated[-1], side="right"))
        return self.pool.picture(min(index, len(self.pool.sources) - 1))

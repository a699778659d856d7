"""The pool of views that an embedder trains on: rendered and cropped once, stored flat, with each view's teacher target.

Rendering a product costs more than a training step on its picture, and a teacher more still. So a fixed pool is made before
training, on disk (memory-mapped, so that several processes share it), and each step takes random augmentations of its views.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import design_product
from models.synth.products import render_product
from models.training.data.cutouts import cut_out
from models.training.data.photos import DatasetError, Photo, held_out, read_rgb
from models.training.data.readers.labelled import read_photos
from models.training.data.readers.pictures import require_pictures
from models.training.errors import TrainingError
from models.training.recipes.pictures import PictureSources, ViewSource
from models.training.recipes.reading import as_table
from models.training.teachers.features import teacher_targets
from models.vectors import unit_rows

Progress = Callable[[str, int, int], None]  # what, done, of
CROP_AREA = (0.3, 1.0)
CROP_ASPECT = (0.7, 1.4)


@dataclass(frozen=True)
class Pool:
    """N views. A view without a target has weight 0 there."""

    views: NDArray[np.uint8]  # (N, s, s, 4) RGBA, memory-mapped
    labels: NDArray[np.int64]  # (N,) class of each view, over all sources
    sources: NDArray[np.int64]  # (N,) index of the source
    targets: NDArray[np.float32]  # (N, D) unit rows, the teacher's
    vectors: NDArray[np.float32]  # (N, V) unit rows, known embeddings of the photos
    has_vector: NDArray[np.float32]  # (N,) 0 or 1
    backgrounds: NDArray[np.uint8]  # (B, s, s, 3)

    @property
    def classes(self) -> int:
        """How many labels there are, over all sources."""
        return int(self.labels.max()) + 1


def build_pool(recipe: PictureSources, data: Path | None, folder: Path, progress: Progress, processes: int = 1) -> None:
    """Make the pool of a recipe in `folder`. An interrupted build starts again; a finished one is kept.

    `data` is the folder that list sources and the teacher are relative to. Raises DatasetError, ArtifactError (the teacher),
    and TrainingError if the folder holds the pool of another recipe.
    """
    done = folder / "pool.json"
    made_from = json.loads(json.dumps(_ingredients(recipe)))
    if done.exists():
        kept = json.loads(done.read_text(encoding="utf-8"))
        if kept.get("made_from", made_from) != made_from:
            raise TrainingError(f"{folder} was made from another recipe; choose another --out or remove it")
        return
    if recipe.teacher.model and data is None:
        raise DatasetError(f"the recipe's teacher {recipe.teacher.model!r} needs a data folder (--data)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    total = sum(_count(source, data) for source in recipe.data)
    listed = [source for source in recipe.data if source.kind == "list"]
    require_pictures([photo.path for source in listed for photo in training_photos(source, data)], progress, processes)
    size = recipe.pool_px
    views = np.lib.format.open_memmap(folder / "views.npy", "w+", np.uint8, (total, size, size, 4))
    labels, sources = np.zeros(total, np.int64), np.zeros(total, np.int64)
    vectors: dict[int, NDArray[np.float32]] = {}
    filled, first_label = 0, 0
    label_ids: dict[str, dict[str, int]] = {}
    for index, source in enumerate(recipe.data):
        names = label_ids.setdefault(source.same_labels_as or source.name, {})
        for view, label, vector in _views(source, data, size, recipe.seed, processes):
            views[filled], sources[filled] = view, index
            if label not in names:
                names[label], first_label = first_label, first_label + 1
            labels[filled] = names[label]
            if vector is not None:
                vectors[filled] = vector
            filled += 1
            progress(f"views of {source.name}", filled, total)
    backgrounds = _backgrounds(views, np.flatnonzero(_is_photo(recipe, sources)), recipe.seed)
    np.savez(folder / "labels.npz", labels=labels, sources=sources, backgrounds=backgrounds)
    _save_targets(recipe, data, folder, views, vectors, progress)
    views.flush()
    summary = {"views": total, "classes": first_label, "made_from": made_from}
    done.write_text(json.dumps(summary), encoding="utf-8")


def load_pool(folder: Path) -> Pool:
    """Open what `build_pool` made."""
    with np.load(folder / "labels.npz") as labels, np.load(folder / "targets.npz") as targets:
        return Pool(
            views=np.load(folder / "views.npy", mmap_mode="r"),
            labels=labels["labels"],
            sources=labels["sources"],
            targets=targets["targets"],
            vectors=targets["vectors"],
            has_vector=targets["has_vector"],
            backgrounds=labels["backgrounds"],
        )


def on_grey(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGBA view as RGB on light grey: how teachers and galleries see a cut-out."""
    alpha = view[..., 3:].astype(np.float32) / 255.0
    return (view[..., :3] * alpha + 235.0 * (1.0 - alpha)).astype(np.uint8)


def product_views(seed: int, count: int, size_px: int) -> list[NDArray[np.uint8]]:
    """`count` random views (size_px, size_px, 4) of the product of that seed, each tight in its square."""
    design = design_product(seed)
    rng = np.random.default_rng([seed, 77])
    return [fit(render_product(design, size_px, rng), size_px) for _ in range(count)]


def fit(view: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Stretch to a square without keeping the ratio, as every crop is before it is embedded."""
    return np.asarray(cv2.resize(view, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)


def require_sources(recipe: PictureSources, data: Path | None) -> None:
    """Raises DatasetError for a source without its data folder, or with a bad list; renders and decodes nothing."""
    for source in recipe.data:
        if source.kind == "list":
            training_photos(source, data)


def training_photos(source: ViewSource, data: Path | None) -> list[Photo]:
    """The photos of a list source that may be trained on."""
    if data is None:
        raise DatasetError(f"the recipe's source {source.name!r} needs a data folder (--data)")
    photos = read_photos(data / source.root, source.file, source.delimiter, ids=source.ids)
    hidden = held_out(photos) if source.holdout else set()
    return [photo for photo in photos if photo.label not in hidden]


def _ingredients(recipe: PictureSources) -> dict[str, Any]:
    """What of a recipe decides its pool; the sampling weights do not."""
    tables = [as_table(source) for source in recipe.data]
    sources = [{key: value for key, value in table.items() if key != "sampling_weight"} for table in tables]
    return {"data": sources, "teacher": as_table(recipe.teacher), "pool_px": recipe.pool_px, "seed": recipe.seed}


def _count(source: ViewSource, data: Path | None) -> int:
    if source.kind == "rendered":
        return source.products * source.views
    return len(training_photos(source, data)) * source.crops


View = tuple[NDArray[np.uint8], str, NDArray[np.float32] | None]


def _views(source: ViewSource, data: Path | None, size: int, seed: int, processes: int) -> Iterator[View]:
    if source.kind == "rendered":
        seeds = range(source.first_seed, source.first_seed + source.products)
        for product, views in zip(seeds, _rendered(seeds, source.views, size, processes), strict=True):
            for view in views:
                yield view, str(product), None
        return
    vectors = _known_vectors(source, data)
    for number, photo in enumerate(training_photos(source, data)):
        image = read_rgb(photo.path)
        free = cut_out(image) if source.cut_out else None
        whole = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]) if free is None else free
        rng = np.random.default_rng([seed, number])
        for crop in range(source.crops):
            part = whole if crop == 0 else _random_crop(whole, rng)
            vector = vectors.get(photo.name) if crop * 2 < source.crops else None
            yield fit(part, size), photo.label, vector


def _rendered(seeds: range, views: int, size: int, processes: int) -> Iterator[list[NDArray[np.uint8]]]:
    if processes == 1:
        yield from (product_views(seed, views, size) for seed in seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        yield from executor.map(product_views, seeds, [views] * len(seeds), [size] * len(seeds), chunksize=16)


def _random_crop(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    area = rng.uniform(*CROP_AREA) * height * width
    aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    w, h = (
        int(min(side, max(8, size)))
        for side, size in ((width, (area * aspect) ** 0.5), (height, (area / aspect) ** 0.5))
    )
    x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
    return image[y : y + h, x : x + w]


def _known_vectors(source: ViewSource, data: Path | None) -> dict[str, NDArray[np.float32]]:
    if not source.vectors or data is None:
        return {}
    try:
        with np.load(data / source.vectors, allow_pickle=False) as stored:
            rows = unit_rows(stored["embedding"].astype(np.float32))
            return dict(zip((str(path) for path in stored["path"]), rows, strict=True))
    except (OSError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{data / source.vectors} is no .npz with `path` and `embedding`") from error


def _is_photo(recipe: PictureSources, sources: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.array([recipe.data[index].kind == "list" for index in sources])


def _backgrounds(views: NDArray[np.uint8], photos: NDArray[np.int64], seed: int, most: int = 1500) -> NDArray[np.uint8]:
    """Photos as backgrounds of cut-outs; where a recipe has none, blurred and mixed views of its own products."""
    rng = np.random.default_rng([seed, 5])
    if len(photos):
        return np.stack([views[index, ..., :3] for index in rng.choice(photos, min(most, len(photos)), replace=False)])
    chosen = [on_grey(views[index]) for index in rng.choice(len(views), min(most, len(views)), replace=False)]
    return np.stack([np.asarray(cv2.GaussianBlur(view, (0, 0), rng.uniform(2, 8)), np.uint8) for view in chosen])


def _save_targets(
    recipe: PictureSources,
    data: Path | None,
    folder: Path,
    views: NDArray[np.uint8],
    vectors: dict[int, NDArray[np.float32]],
    progress: Progress,
) -> None:
    total = len(views)
    targets = np.zeros((total, 0), np.float32)
    if recipe.teacher.model and data is not None:

        def images() -> Iterator[NDArray[np.uint8]]:
            for index in range(total):
                progress("teacher targets", index + 1, total)
                yield on_grey(views[index])

        targets = teacher_targets(images(), data / recipe.teacher.model, recipe.teacher, threads=2)
    width = len(next(iter(vectors.values()))) if vectors else 0
    known, has_vector = np.zeros((total, width), np.float32), np.zeros(total, np.float32)
    for index, vector in vectors.items():
        known[index], has_vector[index] = vector, 1.0
    np.savez(folder / "targets.npz", targets=targets, vectors=known, has_vector=has_vector)

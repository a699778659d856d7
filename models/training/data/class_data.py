"""Pictures by class, whatever they come from: lists with class ids, folders of labels, or rendered products."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.classifier import read_class_map
from models.errors import ArtifactError
from models.training.data.photos import DatasetError, Photo, read_rgb, refuse_faults
from models.training.data.pool import on_grey, product_views
from models.training.data.readers.folders import read_folders
from models.training.data.readers.lists import read_list
from models.training.data.readers.pictures import Progress, require_files
from models.training.recipes.classifier import ClassifierRecipe, ClassSource

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ClassPictures:
    """N pictures and their classes; `read(index)` gives one as (h, w, 3) RGB."""

    labels: NDArray[np.int64]  # (N,)
    read: Callable[[int], Image]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ClassData:
    """What is trained on, what is evaluated by name, and the classes' names by id; "" where one has none."""

    training: ClassPictures
    eval: dict[str, ClassPictures]
    names: tuple[str, ...]


def gather(recipe: ClassifierRecipe, data: Path | None, progress: Progress, threads: int = 1) -> ClassData:
    """All pictures of a recipe; photos are read when they are needed, rendered ones are rendered here.

    Eval sets on photos need the `data` folder, as training does. Raises DatasetError that lists all bad lines of a file, and
    one for all photos that are missing or broken, as far as `require_files` sees it.
    """
    if recipe.data[0].kind == "rendered":
        return _rendered(recipe, progress)
    if data is None:
        raise DatasetError(f"the recipe's source {recipe.data[0].name!r} needs a data folder (--data)")
    photos = [_photos(source, data) for source in recipe.data]
    names = _class_names(recipe, data, photos)
    if recipe.class_num and len(names) > recipe.class_num:
        raise DatasetError(f"the data have {len(names)} classes, 'class_num' is {recipe.class_num}")
    names += ("",) * (recipe.class_num - len(names))
    by_folder = recipe.data[0].kind == "folders"
    ids = {(name if by_folder else str(i)): i for i, name in enumerate(names)}
    labels = [_ids(source, some, ids) for source, some in zip(recipe.data, photos, strict=True)]
    training = _of_files([photo for some in photos for photo in some], np.concatenate(labels))
    eval_photos = {eval_set.name: _photos(eval_set, data) for eval_set in recipe.eval}
    eval_sets = {
        eval_set.name: _of_files(eval_photos[eval_set.name], _ids(eval_set, eval_photos[eval_set.name], ids))
        for eval_set in recipe.eval
    }
    require_files((photo.path for some in (*photos, *eval_photos.values()) for photo in some), progress, threads)
    return ClassData(training, eval_sets, names)


def _photos(source: ClassSource, data: Path) -> list[Photo]:
    root = data / source.root
    return read_folders(root) if source.kind == "folders" else read_list(root, source.file, source.delimiter)


def _class_names(recipe: ClassifierRecipe, data: Path, photos: Sequence[Sequence[Photo]]) -> tuple[str, ...]:
    """The name of each class that the training data have, by its number; "" where a list's class map names none."""
    labels = {photo.label for some in photos for photo in some}
    if recipe.data[0].kind == "folders":
        return tuple(sorted(labels))
    try:
        named = read_class_map(data / recipe.class_map) if recipe.class_map else {}
    except ArtifactError as error:
        raise DatasetError(error.detail) from error
    count = 1 + max((int(label) for label in labels if label.isdecimal()), default=-1)
    if recipe.class_num:  # a wrong id is reported with its line's photo, not as a wrong number of classes
        count = min(count, recipe.class_num)
    return tuple(named.get(i, "") for i in range(count))


def _ids(source: ClassSource, photos: Sequence[Photo], ids: dict[str, int]) -> NDArray[np.int64]:
    faults = [f"{photo.name}: no class {photo.label!r}" for photo in photos if photo.label not in ids]
    refuse_faults(source.file or source.root or source.name, faults, "picture(s) of unknown classes")
    return np.array([ids[photo.label] for photo in photos], np.int64)


def _of_files(photos: Sequence[Photo], labels: NDArray[np.int64]) -> ClassPictures:
    return ClassPictures(labels, lambda index: read_rgb(photos[index].path))


def _rendered(recipe: ClassifierRecipe, progress: Progress) -> ClassData:
    seeds = sorted({seed for source in recipe.data for seed in _seeds(source)})
    ids = {seed: i for i, seed in enumerate(seeds)}
    names = tuple(f"product {seed}" for seed in seeds)
    if recipe.class_num not in (0, len(names)):
        raise DatasetError(f"the data have {len(names)} classes, 'class_num' is {recipe.class_num}")
    if unknowns := sorted({seed for eval_set in recipe.eval for seed in _seeds(eval_set)} - set(seeds)):
        raise DatasetError(f"an eval set names product {unknowns[0]}, which no source renders")
    eval_sets = {eval_set.name: _rendered_pictures([eval_set], ids, progress) for eval_set in recipe.eval}
    return ClassData(_rendered_pictures(recipe.data, ids, progress), eval_sets, names)


def _seeds(source: ClassSource) -> range:
    return range(source.first_seed, source.first_seed + source.products * source.seed_step, source.seed_step)


def _rendered_pictures(sources: Sequence[ClassSource], ids: dict[int, int], progress: Progress) -> ClassPictures:
    images: list[Image] = []
    labels: list[int] = []
    for source in sources:
        for done, seed in enumerate(_seeds(source), 1):
            views = product_views(seed, source.skip_views + source.views, source.rendered_px)[source.skip_views :]
            images += [on_grey(view) for view in views]
            labels += [ids[seed]] * len(views)
            progress(f"views of {source.name}", done, source.products)
    return ClassPictures(np.array(labels, np.int64), images.__getitem__)

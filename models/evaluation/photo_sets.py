"""Which photos of an eval set are queries and which are searched, and their labels as ids; the photos themselves are read by who takes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.data.photos import DatasetError, Photo, held_out
from models.training.data.readers.labelled import read_photos
from models.training.data.readers.pictures import require_files
from models.training.recipes.pictures import EvalSource


@dataclass(frozen=True, eq=False)
class PhotoEvalSet:
    """The photos of one eval set. `gallery` marks what is searched; without any, each photo queries all others."""

    name: str
    photos: tuple[Photo, ...]
    labels: NDArray[np.int64]  # (N,)
    gallery: NDArray[np.bool_]  # (N,)


def photo_eval_sets(eval_sets: Sequence[EvalSource], data: Path | None) -> list[PhotoEvalSet]:
    """The eval sets on photos, each file looked at (see `require_files`); without a `data` folder there are none.

    Raises DatasetError for bad lists, for an eval set without a query, and one for all files that are missing or broken.
    """
    splits = [] if data is None else [_split(eval_set, data) for eval_set in eval_sets if eval_set.kind != "rendered"]
    require_files(photo.path for split in splits for photo in split.photos)
    return splits


def _split(eval_set: EvalSource, data: Path) -> PhotoEvalSet:
    root = data / eval_set.root
    queries = read_photos(root, eval_set.file, eval_set.delimiter, ids=eval_set.ids)
    if eval_set.kind == "held_out":
        kept = held_out(queries)
        queries = [photo for photo in queries if photo.label in kept]
    searched = (
        read_photos(root, eval_set.gallery_file, eval_set.delimiter, ids=eval_set.ids) if eval_set.gallery_file else []
    )
    if not searched and len(queries) == len({photo.label for photo in queries}):
        raise DatasetError(f"the eval set {eval_set.name!r} has no label with two photos, so there is no query")
    photos = (*queries, *searched)
    label_ids = {label: number for number, label in enumerate(sorted({photo.label for photo in photos}))}
    labels = np.array([label_ids[photo.label] for photo in photos])
    return PhotoEvalSet(eval_set.name, photos, labels, np.arange(len(photos)) >= len(queries))

"""Which photos an exam asks and searches, and their labels as numbers; the photos themselves are read by who takes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.data.photos import DatasetError, Photo, held_out
from models.training.data.readers.labelled import read_photos
from models.training.data.readers.pictures import require_files
from models.training.recipes.embedder import Exam


@dataclass(frozen=True, eq=False)
class PhotoSheet:
    """The photos of one exam. `gallery` marks what is searched; without any, each photo asks all others."""

    name: str
    photos: tuple[Photo, ...]
    labels: NDArray[np.int64]  # (N,)
    gallery: NDArray[np.bool_]  # (N,)


def photo_sheets(exams: Sequence[Exam], data: Path | None) -> list[PhotoSheet]:
    """The exams on photos, each file looked at (see `require_files`); without a `data` folder there are none.

    Raises DatasetError for bad lists, for an exam that can ask nothing, and one for all files that are missing or broken.
    """
    sheets = [] if data is None else [_sheet(exam, data) for exam in exams if exam.kind != "rendered"]
    require_files(photo.path for sheet in sheets for photo in sheet.photos)
    return sheets


def _sheet(exam: Exam, data: Path) -> PhotoSheet:
    root = data / exam.root
    asked = read_photos(root, exam.file, exam.delimiter, ids=exam.ids)
    if exam.kind == "held_out":
        kept = held_out(asked)
        asked = [photo for photo in asked if photo.label in kept]
    searched = read_photos(root, exam.gallery_file, exam.delimiter, ids=exam.ids) if exam.gallery_file else []
    if not searched and len(asked) == len({photo.label for photo in asked}):
        raise DatasetError(f"the exam {exam.name!r} has no label with two photos, so nothing can be asked")
    photos = (*asked, *searched)
    numbers = {label: number for number, label in enumerate(sorted({photo.label for photo in photos}))}
    labels = np.array([numbers[photo.label] for photo in photos])
    return PhotoSheet(exam.name, photos, labels, np.arange(len(photos)) >= len(asked))

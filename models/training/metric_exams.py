"""Exams on sets too large to be held in memory: photos read as they are embedded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.exams import Embed
from models.training.metrics import leave_one_out_recall_at_1, recall_at_1
from models.training.photos import DatasetError, Photo, held_out, read_rgb
from models.training.pool import fit
from models.training.readers.labelled import read_photos
from models.training.recipe import Exam
from models.training.teachers import unit_rows

BATCH = 64  # pictures embedded at once


@dataclass(frozen=True)
class PhotoSheet:
    """The photos of one exam. `searched` marks the gallery; without any, each photo asks all others."""

    name: str
    photos: tuple[Photo, ...]
    searched: NDArray[np.bool_]  # (N,)


def photo_sheets(exams: Sequence[Exam], data: Path | None) -> list[PhotoSheet]:
    """The exams on photos, without reading a picture. Without a `data` folder there are none. Raises DatasetError."""
    sheets: list[PhotoSheet] = []
    if data is None:
        return sheets
    for exam in exams:
        photos = read_photos(data / exam.root, exam.file, exam.delimiter)
        if exam.kind == "held_out":
            kept = held_out(photos)
            photos = [photo for photo in photos if photo.label in kept]
        searched = read_photos(data / exam.root, exam.gallery_file, exam.delimiter) if exam.gallery_file else []
        if not searched and len(photos) == len({photo.label for photo in photos}):
            raise DatasetError(f"the exam {exam.name!r} has no label with two photos, so nothing can be asked")
        in_gallery = np.arange(len(photos) + len(searched)) >= len(photos)
        sheets.append(PhotoSheet(exam.name, (*photos, *searched), in_gallery))
    return sheets


def examine_photos(embed: Embed, sheets: Sequence[PhotoSheet], size_px: int) -> dict[str, float]:
    """recall@1 of each exam, by name."""
    return {sheet.name: _grade(embed, sheet, size_px) for sheet in sheets}


def _grade(embed: Embed, sheet: PhotoSheet, size_px: int) -> float:
    rows = unit_rows(np.concatenate(list(_embedded(embed, sheet.photos, size_px))))
    numbers = {label: number for number, label in enumerate(sorted({photo.label for photo in sheet.photos}))}
    labels = np.array([numbers[photo.label] for photo in sheet.photos])
    if not sheet.searched.any():
        return leave_one_out_recall_at_1(rows, labels)
    asked, searched = ~sheet.searched, sheet.searched
    return recall_at_1(rows[asked], labels[asked], rows[searched], labels[searched])


def _embedded(embed: Embed, photos: Sequence[Photo], size_px: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(photos), BATCH):
        yield embed(np.stack([fit(read_rgb(photo.path), size_px) for photo in photos[start : start + BATCH]]))

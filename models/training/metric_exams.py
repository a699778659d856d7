"""Exams on sets too large to be held in memory: photos read as they are embedded, similarities in blocks of queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.exams import Embed
from models.training.photos import DatasetError, Photo, held_out, read_rgb
from models.training.pool import fit
from models.training.readers.lists import read_list
from models.training.readers.sop import is_header, read_sop
from models.training.readers.text import read_lines
from models.training.recipe import Exam, ViewSource
from models.training.teachers import unit_rows

BATCH, BLOCK = 64, 512  # pictures embedded at once, queries asked at once


@dataclass(frozen=True)
class PhotoSheet:
    """The photos of one exam. `searched` marks the gallery; without any, each photo asks all others."""

    name: str
    photos: tuple[Photo, ...]
    searched: NDArray[np.bool_]  # (N,)


def listed(data: Path | None, name: str, root: str, file: str, delimiter: str) -> list[Photo]:
    """The photos of a list, or of one of Stanford Online Products' own files, which its first line tells."""
    if data is None:
        raise DatasetError(f"the recipe's {name!r} needs a data folder (--data)")
    lines = read_lines(data / root / file)
    return read_sop(data / root, file) if lines and is_header(lines[0]) else read_list(data / root, file, delimiter)


def source_photos(source: ViewSource, data: Path | None) -> list[Photo]:
    """The photos of a list source that may be trained on."""
    photos = listed(data, source.name, source.root, source.file, source.delimiter)
    hidden = held_out(photos) if source.holdout else set()
    return [photo for photo in photos if photo.label not in hidden]


def photo_sheets(exams: Sequence[Exam], data: Path | None) -> list[PhotoSheet]:
    """The exams on photos, without reading a picture. Without a `data` folder there are none. Raises DatasetError."""
    sheets = []
    for exam in exams if data is not None else ():
        photos = listed(data, exam.name, exam.root, exam.file, exam.delimiter)
        if exam.kind == "held_out":
            kept = held_out(photos)
            photos = [photo for photo in photos if photo.label in kept]
        searched = listed(data, exam.name, exam.root, exam.gallery_file, exam.delimiter) if exam.gallery_file else []
        if not searched and len(photos) == len({photo.label for photo in photos}):
            raise DatasetError(f"the exam {exam.name!r} has no label with two photos, so nothing can be asked")
        in_gallery = np.arange(len(photos) + len(searched)) >= len(photos)
        sheets.append(PhotoSheet(exam.name, (*photos, *searched), in_gallery))
    return sheets


def examine_photos(embed: Embed, sheets: Sequence[PhotoSheet], size_px: int) -> dict[str, float]:
    """recall@1 of each exam, by name."""
    return {sheet.name: _grade(embed, sheet, size_px) for sheet in sheets}


def recall_at_1_in_blocks(
    queries: NDArray[np.float32],
    query_labels: NDArray[np.int64],
    gallery: NDArray[np.float32],
    gallery_labels: NDArray[np.int64],
    *,
    same: bool = False,
) -> float:
    """Share of unit rows (Q, D) whose nearest of (G, D) bears their label, among those that have one at all.

    `same`: the gallery is the queries, and no row is its own answer. NaN where nothing can be asked.
    """
    names, counts = np.unique(gallery_labels, return_counts=True)
    of_label = dict(zip(names.tolist(), counts.tolist(), strict=True))
    asked = np.array([of_label.get(label, 0) > int(same) for label in query_labels.tolist()])
    nearest = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), BLOCK):
        similarity = queries[start : start + BLOCK] @ gallery.T
        if same:
            own = np.arange(len(similarity))
            similarity[own, start + own] = -np.inf
        nearest[start : start + BLOCK] = similarity.argmax(axis=1)
    right = gallery_labels[nearest] == query_labels
    return float(right[asked].mean()) if asked.any() else float("nan")


def _grade(embed: Embed, sheet: PhotoSheet, size_px: int) -> float:
    rows = unit_rows(np.concatenate(list(_embedded(embed, sheet.photos, size_px))))
    numbers = {label: number for number, label in enumerate(sorted({photo.label for photo in sheet.photos}))}
    labels = np.array([numbers[photo.label] for photo in sheet.photos])
    if not sheet.searched.any():
        return recall_at_1_in_blocks(rows, labels, rows, labels, same=True)
    asked, searched = ~sheet.searched, sheet.searched
    return recall_at_1_in_blocks(rows[asked], labels[asked], rows[searched], labels[searched])


def _embedded(embed: Embed, photos: Sequence[Photo], size_px: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(photos), BATCH):
        yield embed(np.stack([fit(read_rgb(photo.path), size_px) for photo in photos[start : start + BATCH]]))

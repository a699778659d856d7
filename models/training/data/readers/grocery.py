"""GroceryStoreDataset's table of classes: one iconic picture, a packshot, of each (Klasson et al., WACV 2019)."""

import csv
from pathlib import Path

from contracts.names import shown
from models.training.data.photos import DatasetError, Photo, refuse_faults
from models.training.data.readers.lists import file_named
from models.training.data.readers.text import read_lines

HEADER = "Class Name (str),Class ID (int)"
ID, ICONIC = 1, 4  # columns


def is_header(line: str) -> bool:
    """Whether this is the first line of such a table."""
    return line.startswith(HEADER)


def read_iconic(root: Path, file: str) -> list[Photo]:
    """The iconic pictures below `root`, labelled by the class numbers that the lists of photos use. Raises DatasetError."""
    photos, faults = [], []
    for number, row in enumerate(csv.reader(read_lines(root / file)[1:]), 2):
        name = row[ICONIC].strip().lstrip("/") if len(row) > ICONIC else ""
        if not name or not row[ID].strip():
            faults.append(f"line {number}: no class number or iconic picture")
        elif (path := file_named(root, name)) is None:
            faults.append(f"line {number}: no file {shown(name)}")
        else:
            photos.append(Photo(path, name, row[ID].strip()))
    refuse_faults(file, faults)
    if not photos:
        raise DatasetError(f"{file} names no classes")
    return photos

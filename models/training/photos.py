"""Labelled photos from list files: `path<delimiter>label…` lines below a folder. Every bad line is reported at once."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

MOST_TOLD = 50  # bad lines of a list, one by one


class DatasetError(ModelError):
    """A list file has bad lines, or pictures are missing or broken."""

    code = "dataset_invalid"


@dataclass(frozen=True)
class Photo:
    """A picture file and what it shows."""

    path: Path
    name: str  # as the list has it
    label: str


def read_list(root: Path, file: str, delimiter: str = "\t") -> list[Photo]:
    """The photos of one list file. Raises DatasetError naming every line that is short or names no file."""
    try:
        lines = (root / file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DatasetError(f"no list file {root / file}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text") from error
    photos, faults = [], []
    for number, line in enumerate(lines, 1):
        fields = line.split(delimiter)
        if len(fields) < 2:
            faults.append(f"line {number}: expected path{delimiter!r}label")
        elif not fields[1].strip():
            faults.append(f"line {number}: no label")
        elif not (root / fields[0]).is_file():
            faults.append(f"line {number}: no file {fields[0]}")
        else:
            photos.append(Photo(root / fields[0], fields[0], fields[1].strip()))
    if faults:
        more = f"; and {len(faults) - MOST_TOLD} more" if len(faults) > MOST_TOLD else ""
        raise DatasetError(f"{file}: {len(faults)} bad line(s): " + "; ".join(faults[:MOST_TOLD]) + more)
    if not photos:
        raise DatasetError(f"{file} names no photos")
    return photos


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The picture as (H, W, 3) RGB, turned upright as its EXIF says."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)  # None, not an error, for what it can't read
    if bgr is None:
        raise DatasetError(f"{path.name} is not a picture")
    return np.ascontiguousarray(np.asarray(bgr, np.uint8)[:, :, ::-1])


def held_out(photos: list[Photo]) -> set[str]:
    """Every second label in sorted order: what a source with `holdout` keeps from training."""
    return set(sorted({photo.label for photo in photos})[1::2])

"""Labelled photos, whatever file names them, and how training reads their pixels. The formats are in models.training.data.readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.names import shown
from models.errors import ImageError, ModelError
from models.pictures.image import decode

MOST_LISTED = 20  # faults of one file, one by one; the others are counted
MOST_PIXELS = 200_000_000  # more than a camera makes


class DatasetError(ModelError):
    """A data set's file has bad lines, or pictures are missing or broken."""

    code = "dataset_invalid"


@dataclass(frozen=True)
class Photo:
    """A picture file and what it shows."""

    path: Path
    name: str  # as the list has it
    label: str
    id: str = ""  # the third column: pictures with the same label and id are never matched with each other
    coarse: str = ""  # a wider class, where the set has one


def refuse_faults(file: str, faults: Sequence[str], kind: str = "bad line(s)") -> None:
    """Raises DatasetError with all `faults` at once, if there are any."""
    if faults:
        more = f"; and {len(faults) - MOST_LISTED} more" if len(faults) > MOST_LISTED else ""
        raise DatasetError(f"{file}: {len(faults)} {kind}: " + "; ".join(faults[:MOST_LISTED]) + more)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The picture as (H, W, 3) RGB, turned upright as its EXIF says; decoded as the service decodes. Raises DatasetError."""
    try:
        return decode(path.read_bytes(), max_pixels=MOST_PIXELS, min_side_px=1)
    except OSError as error:
        raise DatasetError(f"no file {shown(path)}") from error
    except ImageError as error:
        raise DatasetError(f"{shown(path.name)} is not a picture that can be read: {error.detail}") from error


def held_out(photos: list[Photo]) -> set[str]:
    """Every second label in sorted order: what a source with `holdout` keeps from training."""
    return set(sorted({photo.label for photo in photos})[1::2])

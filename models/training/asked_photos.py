"""A user's photos with what they show, whatever form that comes in: boxes with labels, or labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.photos import DatasetError, Photo, read_rgb
from models.training.readers.boxes import BoxedPhoto
from models.training.readers.coco import read_coco
from models.training.readers.folders import read_folders
from models.training.readers.lists import read_list
from models.training.readers.pictures import require_files
from models.training.readers.text import read_lines
from models.training.readers.voc import read_voc

ANNOTATIONS = "annotations"


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo file or pixels, and what it shows; without boxes only the labels are held to the answers."""

    name: str
    labels: tuple[str, ...]  # T
    boxes: NDArray[np.float32] | None  # (T, 4)
    source: Path | NDArray[np.uint8]

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises DatasetError."""
        return read_rgb(self.source) if isinstance(self.source, Path) else self.source


def read_photos(path: Path, images: Path | None = None, delimiter: str | None = None) -> list[LabelledPhoto]:
    """A user's photos and what they show. Raises DatasetError.

    `path` is a COCO file (.json), a folder with `annotations/*.xml` (VOC), a folder of folders, one for each label, or a
    list of `path label` lines. `images` is where their pictures are: by default `images` beside the annotations, and
    the list's own folder. A photo that is listed again has several labels.
    """
    if path.suffix.lower() == ".json":
        return _boxed(read_coco(path.parent, path.name, str((images or path.parent / "images").resolve())))
    if path.is_dir() and any((path / ANNOTATIONS).glob("*.xml")):
        return _boxed(read_voc(path, str((images or path / "images").resolve())))
    listed = listed_photos(path, images, delimiter)
    labels: dict[Path, list[str]] = {}
    for photo in listed:
        labels.setdefault(photo.path, []).append(photo.label)
    names = {photo.path: photo.name for photo in listed}
    return [LabelledPhoto(names[file], tuple(own), None, file) for file, own in labels.items()]


def listed_photos(
    path: Path, root: Path | None = None, delimiter: str | None = None, *, with_id: bool = False
) -> list[Photo]:
    """The photos of a list, or of a folder of folders; names are relative to `root`, by default the list's own folder.

    Without a `delimiter` it is a tab where the first line has one, else a blank. The third column counts `with_id` only.
    Raises DatasetError for bad lists, and one for all files that are broken (see `require_files`).
    """
    photos = _listed(path, root, delimiter, with_id)
    require_files(photo.path for photo in photos)
    return photos


def _listed(path: Path, root: Path | None, delimiter: str | None, with_id: bool) -> list[Photo]:
    if path.is_dir():
        return read_folders(path)
    if not path.is_file():
        raise DatasetError(f"no list file {path}")
    if delimiter is None:
        lines = read_lines(path)
        delimiter = "\t" if lines and "\t" in lines[0] else " "
    photos = read_list(root or path.parent, str(path.resolve()), delimiter, with_id=with_id)
    return photos if with_id else [Photo(photo.path, photo.name, photo.label) for photo in photos]


def _boxed(photos: Sequence[BoxedPhoto]) -> list[LabelledPhoto]:
    """What is a region of many is neither asked nor held against the answers' labels: it is left out."""
    require_files(photo.path for photo in photos)
    return [
        LabelledPhoto(
            photo.name,
            tuple(label for label, crowd in zip(photo.categories, photo.crowd, strict=True) if not crowd),
            photo.boxes[~photo.crowd],
            photo.path,
        )
        for photo in photos
    ]

"""A user's photos with what they show, whatever form that comes in: boxes with labels, or labels alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from contracts.names import shown
from models.training.data.photos import DatasetError, Photo, read_rgb, refuse_faults
from models.training.data.readers.boxes import BoxedPhoto
from models.training.data.readers.coco import parse_coco, read_coco
from models.training.data.readers.folders import parse_folders, read_folders
from models.training.data.readers.lists import parse_list, read_list
from models.training.data.readers.pictures import faults_of, require_files
from models.training.data.readers.text import read_lines
from models.training.data.readers.voc import parse_voc, read_voc

ANNOTATIONS = "annotations"
Found = TypeVar("Found", Photo, BoxedPhoto)
Refuse = Callable[[str], None]  # called with what is left out, and why


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


def read_photos(
    path: Path, images: Path | None = None, delimiter: str | None = None, refuse: Refuse | None = None
) -> list[LabelledPhoto]:
    """A user's photos and what they show. Raises DatasetError for any fault, or with `refuse` only if nothing is left.

    `path` is a COCO file (.json), a folder with `annotations/*.xml` (VOC), a folder of folders, one for each label, or a
    list of `path label` lines. `images` is where their pictures are: by default `images` next to the annotations, and
    the list's own folder. A photo that is listed again has several labels.
    """
    if path.suffix.lower() == ".json":
        folder = str((images or path.parent / "images").resolve())
        if refuse is None:
            return _boxed(path, read_coco(path.parent, path.name, folder))
        return _boxed(path, _left(path, *parse_coco(path.parent, path.name, folder), refuse), refuse)
    if path.is_dir() and any((path / ANNOTATIONS).glob("*.xml")):
        folder = str((images or path / "images").resolve())
        if refuse is None:
            return _boxed(path, read_voc(path, folder))
        return _boxed(path, _left(path, *parse_voc(path, folder), refuse), refuse)
    listed = listed_photos(path, images, delimiter, refuse=refuse)
    labels: dict[Path, list[str]] = {}
    for photo in listed:
        labels.setdefault(photo.path, []).append(photo.label)
    names = {photo.path: photo.name for photo in listed}
    return [LabelledPhoto(names[file], tuple(own), None, file) for file, own in labels.items()]


def listed_photos(
    path: Path,
    root: Path | None = None,
    delimiter: str | None = None,
    *,
    with_id: bool = False,
    refuse: Refuse | None = None,
) -> list[Photo]:
    """The photos of a list, or of a folder of folders; names are relative to `root`, by default the list's own folder.

    Without a `delimiter` it is a tab where the first line has one, else a blank. The third column counts `with_id` only.
    Raises DatasetError for bad lists, and one for all files that are broken (see `require_files`). With `refuse` bad
    lines and broken files are passed to it and left out; a DatasetError says that nothing is left.
    """
    photos = _listed(path, root, delimiter, with_id, refuse)
    if refuse is None:
        require_files(photo.path for photo in photos)
        return photos
    return _whole(path, photos, refuse)


def _listed(path: Path, root: Path | None, delimiter: str | None, with_id: bool, refuse: Refuse | None) -> list[Photo]:
    if path.is_dir():
        return read_folders(path) if refuse is None else _left(path, *parse_folders(path), refuse)
    if not path.is_file():
        raise DatasetError(f"no list file {shown(path)}")
    if delimiter is None:
        lines = read_lines(path)
        delimiter = "\t" if lines and "\t" in lines[0] else " "
    where = (root or path.parent, str(path.resolve()), delimiter)
    if refuse is None:
        photos = read_list(*where, with_id=with_id)
    else:
        photos = _left(path, *parse_list(*where, with_id=with_id), refuse)
    return photos if with_id else [Photo(photo.path, photo.name, photo.label) for photo in photos]


def _left(path: Path, photos: list[Found], faults: Sequence[str], refuse: Refuse) -> list[Found]:
    """`photos`, after their faults are reported. Raises DatasetError, with the faults, if there are none."""
    if not photos:
        refuse_faults(path.name, faults)
        raise DatasetError(f"{shown(path)} names no photo that can be used")
    for fault in faults:
        refuse(f"{path.name}: {fault}")
    return photos


def _whole(path: Path, photos: list[Found], refuse: Refuse) -> list[Found]:
    """The photos whose files seem whole; the others are reported. Raises DatasetError if there are none."""
    broken = faults_of(photo.path for photo in photos)
    faults = [f"{shown(file)}: {fault}" for file, fault in broken.items()]
    return _left(path, [photo for photo in photos if photo.path not in broken], faults, refuse)


def _boxed(path: Path, photos: list[BoxedPhoto], refuse: Refuse | None = None) -> list[LabelledPhoto]:
    """What is a region of many is neither a query nor held against the answers' labels: it is left out."""
    if refuse is None:
        require_files(photo.path for photo in photos)
    else:
        photos = _whole(path, photos, refuse)
    return [
        LabelledPhoto(
            photo.name,
            tuple(label for label, crowd in zip(photo.categories, photo.crowd, strict=True) if not crowd),
            photo.boxes[~photo.crowd],
            photo.path,
        )
        for photo in photos
    ]

"""Folders of labels: each folder below the root is a label, the pictures in it and below it show it."""

from collections import Counter
from pathlib import Path

from contracts.names import SIDECARS, LabelRefused, clean_label, is_clutter, shown
from contracts.pictures import ENDINGS
from models.training.data.photos import DatasetError, Photo, refuse_faults

PICTURES = frozenset(ENDINGS)


def read_folders(root: Path) -> list[Photo]:
    """The photos below `root` in sorted order, each with its folder's name as label; names are relative to `root`.

    Files that are no pictures by their names, and hidden ones, are passed over. Raises DatasetError for a label that breaks the rule or is without
    pictures and for pictures that are in no label's folder.
    """
    photos, faults = parse_folders(root)
    refuse_faults(root.name, faults, "bad folder(s)")
    if not photos:
        raise DatasetError(f"{shown(root)} has no folders of pictures")
    return photos


def parse_folders(root: Path) -> tuple[list[Photo], list[str]]:
    """The photos, and what is wrong with the folders. Raises DatasetError where there is no such folder."""
    if not root.is_dir():
        raise DatasetError(f"no folder {shown(root)}")
    photos, faults = [], []
    for entry in sorted(root.iterdir()):
        if is_clutter([entry.name]):
            continue
        if not entry.is_dir():
            if entry.suffix.lower() in PICTURES:
                faults.append(f"{shown(entry.name)}: a picture in no label's folder")
            continue
        files = [path for path in sorted(entry.rglob("*")) if is_picture(path.relative_to(root)) and path.is_file()]
        if not files:
            faults.append(f"{shown(entry.name)}: no pictures")
        try:
            label = clean_label(entry.name)
        except LabelRefused as error:
            faults.append(f"{shown(entry.name)}: {error}")
            continue
        photos += [Photo(path, path.relative_to(root).as_posix(), label) for path in files]
    return photos, faults


def is_picture(name: Path) -> bool:
    """Whether a file is a picture by its name, and neither it nor a folder on the way is hidden or clutter."""
    return name.suffix.lower() in PICTURES and not is_clutter(name.parts)


def others(root: Path) -> Counter[str]:
    """How many files below `root` are no pictures by their names, by ending; neither clutter nor texts next to them."""
    names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    endings = (name.suffix.lower() for name in names if not is_clutter(name.parts))
    return Counter(ending for ending in endings if ending not in PICTURES | SIDECARS)

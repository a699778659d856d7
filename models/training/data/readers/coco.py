"""COCO detection JSON (cocodataset.org, "Data format"): every category becomes the one foreground class.

That is what makes the main-body detector's data: PP-ShiTu merges Objects365, COCO, iCartoonFace, LogoDet-3K and RPC so.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from contracts.names import shown
from models.training.data.photos import DatasetError, refuse_faults
from models.training.data.readers.boxes import BoxedPhoto, category_of, empty
from models.training.data.readers.lists import file_named

FAR = 1e7  # pixels; beyond any picture


def read_coco(root: Path, file: str, images: str = "images", *, drop_empty: bool = False) -> list[BoxedPhoto]:
    """The photos of an annotation file in its order, those without boxes too; `images` is their folder below `root`.

    Boxes come as x, y, width, height from 0 and are given as corners. Raises DatasetError naming every fault; boxes
    without area are faults too, or left out with `drop_empty` (COCO's own files have some).
    """
    photos, faults = parse_coco(root, file, images)
    if drop_empty:
        photos = [_without_empty(photo) for photo in photos]
    faults += [
        f"image {photo.name}: an empty box {[round(float(v), 1) for v in box]}"
        for photo in photos
        for box in photo.boxes[empty(photo.boxes)]
    ]
    refuse_faults(file, faults, "fault(s)")
    if not photos:
        raise DatasetError(f"{file} names no images")
    return photos


def parse_coco(root: Path, file: str, images: str = "images") -> tuple[list[BoxedPhoto], list[str]]:
    """The photos, and what is wrong with entries. Raises DatasetError where the file is no such JSON."""
    table = _load(root / file)
    faults: list[str] = []
    categories = _categories(table["categories"], faults)
    entries: dict[Any, dict[str, Any]] = {}
    for number, entry in enumerate(table["images"]):
        fault = _image_fault(entry, root / images)
        if not fault and entry["id"] in entries:
            fault = f"id {entry['id']} was that of another"
        if fault:
            faults.append(f"images[{number}]: {fault}")
        if _is_integer(entry.get("id")):
            entries.setdefault(entry["id"], entry if not fault else {})
    found: dict[Any, list[tuple[list[float], bool, str]]] = {image_id: [] for image_id in entries}
    for number, note in enumerate(table["annotations"]):
        fault = _note_fault(note, found, categories)
        if fault:
            faults.append(f"annotations[{number}]: {fault}")
            continue
        x, y, width, height = (float(value) for value in note["bbox"])
        kind = categories.get(note.get("category_id"), "")
        found[note["image_id"]].append(([x, y, x + width, y + height], bool(note.get("iscrowd", 0)), kind))
    photos = [_photo(root / images, entry, found[image_id]) for image_id, entry in entries.items() if entry]
    return photos, faults


def _categories(entries: list[dict[str, Any]], faults: list[str]) -> dict[Any, str]:
    """Names by id; one that breaks the rule for labels is a fault, and its boxes have no name."""
    names = {}
    for number, entry in enumerate(entries):
        if not _is_integer(entry.get("id")):
            continue
        names[entry["id"]] = ""
        try:
            names[entry["id"]] = category_of(str(entry.get("name", "")))
        except DatasetError as error:
            faults.append(f"categories[{number}]: {error}")
    return names


def _load(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        table = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"no annotation file {path}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise DatasetError(f"{path.name} is not COCO: the outermost is no object")
    lists = {"categories": [], **table}
    for key in ("images", "annotations", "categories"):
        entries = lists.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DatasetError(f"{path.name} is not COCO: {key!r} is no list of objects")
    return lists


def _image_fault(entry: dict[str, Any], folder: Path) -> str:
    name = entry.get("file_name")
    if not _is_integer(entry.get("id")):
        return "no id"
    if not isinstance(name, str) or not name:
        return "no file_name"
    if not all(_is_integer(entry.get(key, 0)) and 0 <= entry.get(key, 0) < FAR for key in ("width", "height")):
        return "width and height must be whole numbers of pixels from 0"
    return f"no file {shown(name)}" if file_named(folder, name) is None else ""


def _note_fault(note: dict[str, Any], images: dict[Any, Any], categories: dict[Any, str]) -> str:
    box = note.get("bbox")
    if not _is_integer(note.get("image_id")) or note["image_id"] not in images:
        return f"image_id {note.get('image_id')!r} is no image's"
    if categories and not (_is_integer(note.get("category_id")) and note["category_id"] in categories):
        return f"category_id {note.get('category_id')!r} is no category's"
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        return f"bbox {box!r} is not four numbers"
    return "" if note.get("iscrowd", 0) in (0, 1) else "iscrowd is neither 0 nor 1"


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -FAR < value < FAR


def _photo(folder: Path, entry: dict[str, Any], found: list[tuple[list[float], bool, str]]) -> BoxedPhoto:
    return BoxedPhoto(
        file_named(folder, entry["file_name"]) or folder / entry["file_name"],
        entry["file_name"],
        entry.get("width", 0),
        entry.get("height", 0),
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([crowd for _, crowd, _ in found], np.bool_),
        tuple(kind for _, _, kind in found),
        entry["id"],
    )


def _without_empty(photo: BoxedPhoto) -> BoxedPhoto:
    kept = np.flatnonzero(~empty(photo.boxes))
    categories = tuple(photo.categories[index] for index in kept)
    return BoxedPhoto(
        photo.path,
        photo.name,
        photo.width,
        photo.height,
        photo.boxes[kept],
        photo.crowd[kept],
        categories,
        photo.image_id,
    )

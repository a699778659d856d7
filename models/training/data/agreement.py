"""Boxes for photos that nobody annotated, from two teachers that err differently: a detector of COCO and saliency.

Where the two agree, the detector's box is taken. How far each may be believed was measured on the training half of
raccoon, and the rule follows it: a box of the detector with a score of 0.6 or more was right (IoU >= 0.5) in 99 % of the
cases if saliency agreed (70 boxes) and in 62 % otherwise (34); of 0.45 to 0.6 in 54 % and 30 %; below, in fewer than
half. The saliency's own box was right in 87 % where a sure box agreed, but its mean IoU was 0.71, the detector's 0.82.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.boxes import area, iou
from models.training.data.detection_sources import Progress
from models.training.data.photos import DatasetError, Photo, read_rgb
from models.training.data.readers.lists import read_list
from models.training.data.readers.text import read_lines

Array = NDArray[np.float32]
AGREED = 0.5  # IoU of the two teachers' boxes
SURE, LIKELY, POSSIBLE = 0.6, 0.3, 0.2  # scores of the detector
WHOLE = 0.8  # of the photo: a box of this size says only that there is no object to be separated from a background
LEAST = 0.03
FILLED = (
    0.45  # score of a detector's box of the whole photo from which an object fills it, and what is in it are its prints
)
# Many things alike, as in a heap of fruit or a row on a shelf: so many of the detector's boxes, each below that fraction of
# the photo and within that factor of their median area. Each is an object, though the detector is sure of none.
MANY, SMALL, ALIKE = 6, 0.15, 2.5
SPREAD, COVERED = 0.25, 0.2  # of the photo, that their centres span and that they cover together
INSIDE = 0.7  # of a box that lies in one already taken: a part of it, or another guess at it


class Detecting(Protocol):
    """A detector of things, such as models.training.teachers.pseudo_boxes.BoxTeacher."""

    def detect(self, image: NDArray[np.uint8], floor: float) -> tuple[Array, Array]: ...


class Salient(Protocol):
    """What finds the most salient object, such as models.training.teachers.saliency.Saliency."""

    def box(self, image: NDArray[np.uint8]) -> Array: ...


@dataclass(frozen=True)
class Guess:
    """Boxes (G, 4) in pixels; those that are `unsure` (G,) are neither objects nor background."""

    boxes: Array
    unsure: NDArray[np.bool_]
    how: str  # "agreed", "detector", "salient" or "many": whose word the photo rests on, or that many are alike


def guess(image: NDArray[np.uint8], detector: Detecting, salient: Salient | None) -> Guess | None:
    """The main bodies of an RGB photo (H, W, 3); None where no teacher may be believed."""
    boxes, scores = detector.detect(image, POSSIBLE)
    seen = salient.box(image) if salient is not None else np.zeros((0, 4), np.float32)
    return combine(boxes, scores, seen, float(image.shape[0] * image.shape[1]))


def combine(boxes: Array, scores: Array, seen: Array, photo_area: float) -> Guess | None:
    """The detector's boxes (D, 4) and scores (D,), best first, and the salient box (0 or 1, 4) -> the pseudo-boxes, or None.

    Boxes of nearly the whole photo are background: of 287 photos of shelves that the two agreed on without this rule, 64 %
    had one, and it was the heap or the shelf.
    """
    usable = area(boxes) < WHOLE * photo_area
    filled = bool((scores[~usable] >= FILLED).any())
    boxes, scores = boxes[usable], scores[usable]
    fraction = float(area(seen)[0]) / photo_area if len(seen) else 0.0
    if not LEAST < fraction < WHOLE:
        seen = seen[:0]
    overlap = iou(boxes, seen)[:, 0] if len(boxes) and len(seen) else np.zeros(len(boxes), np.float32)
    agreed = np.flatnonzero((overlap >= AGREED) & (scores >= LIKELY))
    sure = [int(index) for index in np.flatnonzero(scores >= SURE)]
    alike = many_alike(boxes, photo_area)
    if len(alike) and _lie_in(boxes[alike], seen):
        others = [
            box for index, box in enumerate(boxes) if index not in alike and area(box[None])[0] < SMALL * photo_area
        ]
        every = np.stack([*boxes[alike], *others]).astype(np.float32)
        return Guess(every, np.arange(len(every)) >= len(alike), "many")
    if filled and not len(agreed):
        return None
    if len(agreed):
        first = int(agreed[np.argmax(overlap[agreed] + scores[agreed])])
        taken, how = [boxes[first]], "agreed"
    elif sure:
        taken, how = [boxes[sure[0]]], "detector"
    elif len(seen):
        taken, how = [seen[0]], "salient"
    else:
        return None
    for index in sure:
        if not _duplicates(boxes[index], taken):
            taken.append(boxes[index])
    unsure = [box for box in boxes if not _duplicates(box, taken)]
    if how == "detector" and len(seen) and not _duplicates(seen[0], taken):
        unsure.append(seen[0])
    every = np.stack([*taken, *unsure]).astype(np.float32)
    return Guess(every, np.arange(len(every)) >= len(taken), how)


def many_alike(boxes: Array, photo_area: float) -> NDArray[np.intp]:
    """Which of the boxes (D, 4) show one of many things alike, that fill much of the photo; none where there are too few."""
    sizes = area(boxes)
    small = np.flatnonzero(sizes < SMALL * photo_area)
    if len(small) < MANY:
        return small[:0]
    middle = float(np.median(sizes[small]))
    alike = small[(sizes[small] > middle / ALIKE) & (sizes[small] < middle * ALIKE)]
    if len(alike) < MANY:
        return small[:0]
    across = [float(np.ptp(boxes[alike][:, side::2].mean(axis=1))) for side in (0, 1)]
    wide = across[0] * across[1] > SPREAD * photo_area or max(across) ** 2 > photo_area / 2
    return alike if sizes[alike].sum() > COVERED * photo_area and wide else small[:0]


def _lie_in(boxes: Array, seen: Array) -> bool:
    """Whether most of the boxes (D, 4) have their centre in the salient one; also where there is none."""
    if not len(seen):
        return True
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return float(((centres > seen[0, :2]) & (centres < seen[0, 2:])).all(axis=1).mean()) > INSIDE


def _duplicates(box: Array, taken: Sequence[Array]) -> bool:
    """Whether a box shows what one of the taken shows: it is much the same, or lies in it, or holds it."""
    others = np.stack(taken)
    low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    smaller = np.minimum(area(others), area(box[None]))
    return bool((common > INSIDE * np.maximum(smaller, 1e-6)).any())


def read_photos(data: Path, file: str, most: int = 0, *, every_fifth: bool = True) -> list[Photo]:
    """The photos of a list (tabs or commas) below the data folder, `most` of them evenly spread; 0: all.

    Without `every_fifth` those are left out that a source with `holdout` keeps for measuring. Raises DatasetError.
    """
    path = data / file
    lines = read_lines(path)
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    photos = read_list(path.parent, path.name, delimiter)
    photos = [photo for number, photo in enumerate(photos) if every_fifth or number % 5 != 4]
    if most <= 0 or most >= len(photos):
        return photos
    return [photos[int(index)] for index in np.linspace(0, len(photos) - 1, most)]


def write_pseudo_boxes(
    photos: Iterable[Photo], data: Path, out: Path, detector: Detecting, salient: Salient | None, progress: Progress
) -> dict[str, int]:
    """Write COCO JSON with the guesses for photos below `data`, whose names in it are relative to that folder.

    A box that is unsure is written as a crowd, which a detector's training passes over. Returns how many photos rest on
    whose word, and how many were passed over. Raises DatasetError where none is left.
    """
    wanted = list(photos)
    counts = {"agreed": 0, "detector": 0, "salient": 0, "many": 0, "passed over": 0}
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for number, photo in enumerate(wanted, 1):
        image = read_rgb(photo.path)
        found = guess(image, detector, salient)
        progress("pseudo-boxes", number, len(wanted))
        if found is None:
            counts["passed over"] += 1
            continue
        counts[found.how] += 1
        name = photo.path.relative_to(data).as_posix()
        images.append({"id": len(images), "file_name": name, "width": image.shape[1], "height": image.shape[0]})
        for box, unsure in zip(found.boxes, found.unsure, strict=True):
            x1, y1, x2, y2 = (round(float(value), 1) for value in box)
            sides = [x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)]
            entry = {"id": len(notes), "image_id": images[-1]["id"], "category_id": 1, "bbox": sides}
            notes.append({**entry, "area": sides[2] * sides[3], "iscrowd": int(unsure)})
    if not images:
        raise DatasetError("the teachers are sure of no photo")
    table = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "body"}]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table), encoding="utf-8")
    return counts

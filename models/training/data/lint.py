"""Looks a data set through before anything is trained on it: every bad line, every broken picture, and what only seems right.

Errors are what training would stop at or learn wrongly from; warnings what is seldom meant.
"""

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.names import shown
from models.training.data.photos import DatasetError, Photo
from models.training.data.readers.boxes import BoxedPhoto, empty
from models.training.data.readers.coco import parse_coco
from models.training.data.readers.folders import others, parse_folders
from models.training.data.readers.lists import file_named, parse_list, split_line
from models.training.data.readers.pictures import PictureFile, Progress, checked
from models.training.data.readers.sop import is_header, parse_sop
from models.training.data.readers.text import read_lines
from models.training.data.readers.voc import parse_voc

KINDS = ("list", "folders", "sop", "coco", "voc")
DELIMITERS = ("\t", ", ", ",", ";", "|", " ")  # in the order in which they are tried
BEYOND_PX = 1.0  # annotation tools round; a box further out than this is wrong


@dataclass(frozen=True)
class Layout:
    """How a data set is to be read; what is empty is found out from the files."""

    kind: str = ""  # one of KINDS
    root: Path | None = None  # that the paths in a list are relative to; default: the list's folder
    delimiter: str = ""
    with_id: bool = False  # lists: the third column must be there
    images: str = ""  # COCO and VOC: the pictures' folder, below the root


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong ("error") or odd ("warning"), and where."""

    level: str
    place: str
    text: str


@dataclass(frozen=True)
class Report:
    """What was validated, and what was found."""

    kinds: dict[str, str]  # path -> kind
    pictures: int
    labels: int
    boxes: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.level == "error" for finding in self.findings)


def lint(
    paths: Sequence[Path], layout: Layout | None = None, progress: Progress | None = None, threads: int = 4
) -> Report:
    """Validate all `paths` as one data set: lists, SOP files, COCO files, folders of labels and VOC folders."""
    layout = layout or Layout()
    findings: list[Finding] = []
    photos: list[tuple[str, Photo]] = []
    boxed: list[tuple[str, BoxedPhoto]] = []
    kinds = {}
    for path in paths:
        try:
            kind = kinds[str(path)] = layout.kind or kind_of(path)
            labelled, with_boxes, faults = _parse(path, kind, layout)
        except DatasetError as error:
            findings.append(Finding("error", path.name, error.detail))
            continue
        findings += [Finding("error", path.name, fault) for fault in faults]
        if kind == "folders" and (passed := others(path)):
            listed = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in sorted(passed.items()))
            findings.append(
                Finding("warning", path.name, f"not read, for they are no pictures by their names: {listed}")
            )
        photos += [(path.name, photo) for photo in labelled]
        boxed += [(path.name, boxed_photo) for boxed_photo in with_boxes]
        if not labelled and not with_boxes and not faults:
            findings.append(Finding("error", path.name, "names no pictures"))
    named = {photo.path: f"{place}: {photo.name}" for place, photo in photos}
    named |= {boxed_photo.path: f"{place}: {boxed_photo.name}" for place, boxed_photo in boxed}
    files = checked(named, progress, threads)
    findings += [Finding("error", named[path], file.fault) for path, file in sorted(files.items()) if file.fault]
    findings += _about_labels(photos, files) + _about_ids(photos)
    for place, boxed_photo in boxed:
        findings += _about_boxes(f"{place}: {boxed_photo.name}", boxed_photo, files[boxed_photo.path])
    labels = {photo.label for _, photo in photos} | {
        name for _, boxed_photo in boxed for name in boxed_photo.categories
    }
    return Report(
        kinds, len(files), len(labels), sum(len(boxed_photo.boxes) for _, boxed_photo in boxed), tuple(findings)
    )


def _about_ids(photos: Sequence[tuple[str, Photo]]) -> list[Finding]:
    """A warning for each list whose labels all end in a number of their own: most likely a third column."""
    findings = []
    for place in dict.fromkeys(place for place, _ in photos):
        labels = {photo.label for where, photo in photos if where == place}
        parts = [label.rpartition(" ") for label in labels]
        if all(before and last.isdigit() for before, _, last in parts) and len({p[0] for p in parts}) < len(labels):
            listed = "every label ends in a number; if that is a column of ids, say so: --ids, `ids = true` in recipes"
            findings.append(Finding("warning", place, listed))
    return findings


def kind_of(path: Path) -> str:
    """Which of KINDS a path is, by its name and its beginning. Raises DatasetError where there is nothing."""
    if path.is_dir():
        return "voc" if any((path / "annotations").glob("*.xml")) else "folders"
    if not path.exists():
        raise DatasetError(f"no file or folder {shown(path)}")
    if path.suffix.lower() == ".json":
        return "coco"
    return "sop" if any(map(is_header, read_lines(path)[:1])) else "list"


def delimiter_of(lines: Sequence[str], root: Path) -> str:
    """The delimiter that makes the most of the first lines name a file, or at least have two columns."""

    def score(delimiter: str) -> tuple[int, int]:
        split = [split_line(line, delimiter) for line in lines[:50]]
        columns = [name for name, label, _ in split if label]
        return sum(file_named(root, name) is not None for name in columns), len(columns)

    return max(DELIMITERS, key=score)  # the first of equals


def _parse(path: Path, kind: str, layout: Layout) -> tuple[list[Photo], list[BoxedPhoto], list[str]]:
    root = layout.root or (path if path.is_dir() else path.parent)
    file = str(path.resolve())
    if kind == "folders":
        photos, faults = parse_folders(path)
        return photos, [], faults
    if kind == "sop":
        photos, faults = parse_sop(root, file)
        return photos, [], faults
    if kind == "coco":
        boxed, faults = parse_coco(root, file, layout.images or _images_of(path, root))
        return [], boxed, faults
    if kind == "voc":
        boxed, faults = parse_voc(path, layout.images or "images")
        return [], boxed, faults
    delimiter = layout.delimiter or delimiter_of(read_lines(path), root)
    photos, faults = parse_list(root, file, delimiter, with_id=layout.with_id)
    return photos, [], faults


def _images_of(path: Path, root: Path) -> str:
    """The folder of a COCO file's pictures: `images` or that of its name's end (instances_val2017), next to it or one above."""
    candidates = [f"{above}{name}" for above in ("", "../") for name in ("images", path.stem.rpartition("_")[2], ".")]
    with contextlib.suppress(
        OSError, ValueError, LookupError, TypeError, AttributeError
    ):  # parse_coco reports what is wrong
        first = json.loads(path.read_bytes())["images"][0]["file_name"]
        return next((folder for folder in candidates if file_named(root / folder, first)), "images")
    return "images"


def _about_labels(photos: Sequence[tuple[str, Photo]], files: dict[Path, PictureFile]) -> list[Finding]:
    """The same picture under two labels or twice, and labels with one picture."""
    findings = []
    same: dict[str, list[tuple[str, Photo]]] = defaultdict(list)
    for place, photo in photos:
        if not files[photo.path].fault:
            same[files[photo.path].digest].append((place, photo))
    for alike in same.values():
        if len(alike) == 1:
            continue
        names = ", ".join(f"{place}: {photo.name} ({photo.label})" for place, photo in alike)
        if len({photo.label for _, photo in alike}) > 1:
            findings.append(Finding("error", names, "the same picture under different labels"))
        else:
            findings.append(Finding("warning", names, "the same picture more than once"))
    counts = Counter(photo.label for _, photo in photos)
    for label in sorted(label for label, count in counts.items() if count == 1):
        findings.append(Finding("warning", f"label {label}", "has one picture: nothing to be matched with"))
    return findings


def _about_boxes(place: str, photo: BoxedPhoto, file: PictureFile) -> list[Finding]:
    findings = []
    for box in photo.boxes[empty(photo.boxes)]:
        findings.append(Finding("error", place, f"the box {_corners(box)} is empty"))
    if file.fault:
        return findings
    width, height = file.size
    if photo.width and photo.height and (photo.width, photo.height) != file.size:
        text = f"the annotation says {photo.width} x {photo.height} pixels, the picture has {width} x {height}"
        findings.append(Finding("error", place, text))
    full = photo.boxes[~empty(photo.boxes)]
    for box, clipped in zip(full, photo.clipped(width, height)[~empty(photo.boxes)], strict=True):
        if abs(box - clipped).max() > BEYOND_PX:
            findings.append(Finding("error", place, f"the box {_corners(box)} is out of the {width} x {height} pixels"))
    if not len(photo.boxes):
        findings.append(Finding("warning", place, "no boxes"))
    return findings


def _corners(box: Iterable[float]) -> str:
    return "(" + ", ".join(f"{float(value):g}" for value in box) + ")"

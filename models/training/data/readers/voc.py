"""Pascal VOC annotations: one XML file a picture (Everingham et al., the VOC2012 development kit).

A document type is refused: annotations need none, and with it come entities that blow up or read other files.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from contracts.names import shown
from models.training.data.photos import DatasetError, refuse_faults
from models.training.data.readers.boxes import BoxedPhoto, category_of, empty
from models.training.data.readers.lists import file_named

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(root: Path, images: str = "images", annotations: str = "annotations") -> list[BoxedPhoto]:
    """The photos of `annotations`/*.xml below `root`, in sorted order. Raises DatasetError naming every fault.

    VOC counts pixels from 1 and includes the last; here boxes are from 0, the end excluded.
    """
    photos, faults = parse_voc(root, images, annotations)
    faults += [f"{photo.path.name}: an empty box" for photo in photos if empty(photo.boxes).any()]
    refuse_faults(root.name, faults, "bad annotation(s)")
    return photos


def parse_voc(
    root: Path, images: str = "images", annotations: str = "annotations"
) -> tuple[list[BoxedPhoto], list[str]]:
    """The photos of the good files, and what is wrong with the others. Raises DatasetError where there are none."""
    paths = sorted((root / annotations).glob("*.xml"))
    if not paths:
        raise DatasetError(f"no {annotations}/*.xml in {shown(root)}")
    photos, faults = [], []
    for number, path in enumerate(paths):
        try:
            photos.append(_read(path, root / images, number))
        except (DatasetError, OSError) as error:
            faults.append(f"{shown(path.name)}: {error}")
    return photos, faults


def parse_xml(data: bytes) -> Element:
    """The outermost element. Raises DatasetError for what is no XML, and for a document type."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two: an encoding that is none
        raise DatasetError(f"is not XML: {error}") from error
    return builder.close()


def _refuse(*_: object) -> None:
    raise DatasetError("has a document type, which an annotation needs not")


def _read(path: Path, folder: Path, number: int) -> BoxedPhoto:
    top = parse_xml(path.read_bytes())
    name = (top.findtext("filename") or "").strip()
    if not name:
        raise DatasetError("no filename")
    file = file_named(folder, name)
    if file is None:
        raise DatasetError(f"no file {shown(name)}")
    width, height = (int(_number(top, f"size/{key}", "0")) for key in ("width", "height"))
    boxes, kinds = [], []
    for thing in top.iter("object"):
        for place in thing.iter("bndbox"):
            boxes.append([_number(place, side) for side in SIDES])
            kinds.append(category_of(thing.findtext("name") or ""))
    corners = np.array(boxes, np.float32).reshape(-1, 4) - np.array([1, 1, 0, 0], np.float32)
    return BoxedPhoto(file, name, width, height, corners, np.zeros(len(corners), np.bool_), tuple(kinds), number)


def _number(element: Element, key: str, default: str = "") -> float:
    text = (element.findtext(key) or default).strip()
    try:
        value = float(text)
    except ValueError as error:
        raise DatasetError(f"{key} is {text!r}, no number") from error
    if not np.isfinite(value) or value < 0:
        raise DatasetError(f"{key} is {text}")
    return value

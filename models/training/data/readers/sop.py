"""Stanford Online Products: `Ebay_train.txt` and `Ebay_test.txt` (Song et al., arXiv:1511.06452).

A header line, then `image_id class_id super_class_id path` by blanks. The two files share no class.
"""

from pathlib import Path

from contracts.names import shown
from models.training.data.photos import DatasetError, Photo, refuse_faults
from models.training.data.readers.lists import file_named
from models.training.data.readers.text import read_lines

HEADER = ("image_id", "class_id", "super_class_id", "path")


def read_sop(root: Path, file: str = "Ebay_train.txt") -> list[Photo]:
    """The photos of one file: the label is the class, the id the image's, `coarse` the super class. Raises DatasetError."""
    photos, faults = parse_sop(root, file)
    refuse_faults(file, faults)
    if not photos:
        raise DatasetError(f"{file} names no photos")
    return photos


def parse_sop(root: Path, file: str = "Ebay_train.txt") -> tuple[list[Photo], list[str]]:
    """The photos of the good lines, and what is wrong with the others. Raises DatasetError for another kind of file."""
    lines = read_lines(root / file)
    if not lines or not is_header(lines[0]):
        raise DatasetError(f"{file} does not begin with the line {' '.join(HEADER)!r}")
    photos, faults = [], []
    ids: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split(maxsplit=len(HEADER) - 1)
        if len(fields) < len(HEADER) or not all(field.isdecimal() for field in fields[:3]):
            faults.append(f"line {number}: expected {' '.join(HEADER)}")
            continue
        image_id, class_id, super_class_id, name = fields
        first = ids.setdefault(image_id, number)
        if first != number:
            faults.append(f"line {number}: image_id {image_id} was that of line {first}")
        elif (path := file_named(root, name.strip())) is None:
            faults.append(f"line {number}: no file {shown(name.strip())}")
        else:
            photos.append(Photo(path, name.strip(), class_id, image_id, super_class_id))
    return photos, faults


def is_header(line: str) -> bool:
    """Whether a line is the one that such files begin with."""
    return tuple(line.split()) == HEADER

"""Lists: `path<delimiter>label` or `path<delimiter>label<delimiter>id` lines below a folder, as PaddleClas has them."""

from pathlib import Path

from contracts.names import LabelRefused, clean_label, shown, spellings
from models.training.data.photos import DatasetError, Photo, refuse_faults
from models.training.data.readers.text import read_lines


def read_list(root: Path, file: str, delimiter: str = "\t", *, with_id: bool = False) -> list[Photo]:
    """The photos of one list file. Raises DatasetError naming every line that is short or names no file.

    `delimiter` is any string; columns after the third are passed over. A delimiter of blanks can't separate blanks in labels
    from the next column, so there the label is the rest of the line, or what is before the last column `with_id`.
    `with_id`: a line without the third column is an error, as where a list is its own gallery.
    """
    photos, faults = parse_list(root, file, delimiter, with_id=with_id)
    refuse_faults(file, faults)
    if not photos:
        raise DatasetError(f"{file} names no photos")
    return photos


def parse_list(root: Path, file: str, delimiter: str = "\t", *, with_id: bool = False) -> tuple[list[Photo], list[str]]:
    """The photos of the good lines, and what is wrong with the others. Raises DatasetError where the list can't be read."""
    if not delimiter:
        raise DatasetError("the delimiter of a list is empty")
    wanted = f"path{delimiter!r}label" + (f"{delimiter!r}id" if with_id else "")
    photos, faults = [], []
    for number, line in enumerate(read_lines(root / file), 1):
        name, label, mark = split_line(line, delimiter, with_id=with_id)
        if not name or label is None or (with_id and not mark):
            faults.append(f"line {number}: expected {wanted}")
        elif not label:
            faults.append(f"line {number}: no label")
        elif (path := file_named(root, name)) is None:
            faults.append(f"line {number}: no file {shown(name)}")
        else:
            try:
                photos.append(Photo(path, name, clean_label(label), mark))
            except LabelRefused as error:
                faults.append(f"line {number}: {error}")
    return photos, faults


def split_line(line: str, delimiter: str, *, with_id: bool = False) -> tuple[str, str | None, str]:
    """Path, label (None: there is no such column) and id ("": none) of one line."""
    if delimiter.strip(" "):
        name, *fields = line.split(delimiter)
    else:
        name, *fields = line.strip(" ").split(delimiter, 1)
        if with_id:
            fields = [part for field in fields for part in field.rsplit(delimiter, 1)]
    label = fields[0].strip() if fields else None
    return name.strip(), label, fields[1].strip() if len(fields) > 1 else ""


def file_named(root: Path, name: str) -> Path | None:
    """The file of that name below `root`, in any of its spellings."""
    return next((path for path in (root / way for way in spellings(name)) if is_file(path)), None)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL
        return False

"""Labelled photos of any format, detected from what is there: the one call for trainers and eval sets."""

from pathlib import Path

from models.training.data.photos import Photo
from models.training.data.readers.folders import read_folders
from models.training.data.readers.grocery import is_header as is_grocery_header
from models.training.data.readers.grocery import read_iconic
from models.training.data.readers.lists import read_list
from models.training.data.readers.sop import is_header, read_sop
from models.training.data.readers.text import read_lines


def read_photos(root: Path, file: str, delimiter: str = "\t", *, ids: bool = False) -> list[Photo]:
    """The photos below `root` that `file` lists; without a file, those of the folders of labels there.

    A file that begins as Stanford Online Products' do is read as theirs, and GroceryStoreDataset's table of classes as its
    iconic pictures. `ids`: a list has a third column, which a delimiter
    of blanks would take for part of the label otherwise. Raises DatasetError naming every fault.
    """
    if not file:
        return read_folders(root)
    first = read_lines(root / file)[:1]
    if any(map(is_header, first)):
        return read_sop(root, file)
    if any(map(is_grocery_header, first)):
        return read_iconic(root, file)
    return read_list(root, file, delimiter, with_id=ids)

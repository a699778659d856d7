from pathlib import Path

import pytest

from models.training.data.photos import DatasetError
from models.training.data.readers.grocery import HEADER
from models.training.data.readers.labelled import read_photos
from tests.models.training.data.readers.pictures import write_picture

FIRST = f"{HEADER},Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str),Product Description Path (str)"


def table(folder: Path, *rows: str) -> None:
    (folder / "classes.csv").write_text("\n".join([FIRST, *rows]), encoding="utf-8")


def test_each_class_has_its_packshot_under_its_number(tmp_path: Path) -> None:
    (tmp_path / "iconic").mkdir()
    write_picture(tmp_path / "iconic" / "a.png")
    write_picture(tmp_path / "iconic" / "b.png")
    table(tmp_path, "Apple,0,Apple,0,/iconic/a.png,/x.txt", '"Oat, milk",7,Milk,1,/iconic/b.png,/y.txt')
    photos = read_photos(tmp_path, "classes.csv")
    assert [(photo.name, photo.label) for photo in photos] == [("iconic/a.png", "0"), ("iconic/b.png", "7")]
    assert all(photo.path.is_file() for photo in photos)


def test_all_bad_rows_are_named_at_once(tmp_path: Path) -> None:
    table(tmp_path, "Apple,0,Apple,0,/no.png,/x", "short", "Pear,,Pear,1,/b.png,/y")
    with pytest.raises(DatasetError, match=r"3 bad line\(s\).*line 2: no file no.png.*line 3.*line 4"):
        read_photos(tmp_path, "classes.csv")


def test_a_table_without_classes_is_an_error(tmp_path: Path) -> None:
    table(tmp_path)
    with pytest.raises(DatasetError, match="names no classes"):
        read_photos(tmp_path, "classes.csv")

"""Folders of labels: which files are pictures of what, and which folders are wrong."""

from pathlib import Path

import pytest

from models.training.data.photos import DatasetError
from models.training.data.readers.folders import read_folders
from tests.models.training.data.readers.pictures import write_picture


def test_folders_are_labels_and_what_is_below_them_shows_it(tmp_path: Path) -> None:
    for name in ("red can/a.png", "red can/more/b.PNG", "可乐/c.jpg", ".trash/x.png", "red can/.hidden/y.png"):
        write_picture(tmp_path / name)
    (tmp_path / "README").write_text("what it is", encoding="utf-8")
    (tmp_path / "red can" / "notes.txt").write_text("", encoding="utf-8")
    photos = read_folders(tmp_path)
    found = [(photo.name, photo.label) for photo in photos]
    assert found == [("red can/a.png", "red can"), ("red can/more/b.PNG", "red can"), ("可乐/c.jpg", "可乐")]
    assert all(photo.path.is_file() for photo in photos)


def test_all_bad_folders_are_named_at_once(tmp_path: Path) -> None:
    write_picture(tmp_path / "good" / "a.png")
    write_picture(tmp_path / "stray.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"2 bad folder\(s\): empty: no pictures; stray\.png: a picture in no"):
        read_folders(tmp_path)


def test_no_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no folders"):
        read_folders(tmp_path)
    with pytest.raises(DatasetError, match="no folder"):
        read_folders(tmp_path / "none")

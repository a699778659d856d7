"""The one call: the format is detected from what is there."""

from pathlib import Path

import pytest

from models.evaluation.photo_sets import photo_eval_sets
from models.training.data.photos import DatasetError
from models.training.data.pool import training_photos
from models.training.data.readers.labelled import read_photos
from models.training.recipes.pictures import EvalSource, ViewSource
from tests.models.training.data.readers.pictures import write_picture


def test_lists_folders_and_sop_files_are_reported_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("a/0.png", "a/1.png", "b/0.png")):
        write_picture(tmp_path / name, number)
    (tmp_path / "list.txt").write_text("b/0.png, 可乐\n", encoding="utf-8")
    (tmp_path / "Ebay_train.txt").write_text(
        "image_id class_id super_class_id path\n1 7 1 a/0.png\n2 8 1 a/1.png\n", encoding="utf-8"
    )
    assert [photo.label for photo in read_photos(tmp_path, "")] == ["a", "a", "b"]
    assert [photo.label for photo in read_photos(tmp_path, "list.txt", ", ")] == ["可乐"]
    assert [photo.label for photo in read_photos(tmp_path, "Ebay_train.txt")] == ["7", "8"]


def test_faults_are_those_of_the_format(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("gone.png\tx\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"line 1: no file gone\.png"):
        read_photos(tmp_path, "list.txt")
    with pytest.raises(DatasetError, match="no list file"):
        read_photos(tmp_path, "none.txt")
    with pytest.raises(DatasetError, match="no folders of pictures"):
        read_photos(tmp_path, "")


def test_a_third_column_is_no_part_of_a_label(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        write_picture(tmp_path / name, 0)
    (tmp_path / "cars.txt").write_text("0.png red car 7\n1.png red car 8\n", encoding="utf-8")
    photos = read_photos(tmp_path, "cars.txt", " ", ids=True)
    assert [(photo.label, photo.id) for photo in photos] == [("red car", "7"), ("red car", "8")]
    source = ViewSource("list", "cars", root=tmp_path.name, file="cars.txt", delimiter=" ", ids=True)
    assert {photo.label for photo in training_photos(source, tmp_path.parent)} == {"red car"}
    eval_set = EvalSource("lists", "cars", root=tmp_path.name, file="cars.txt", delimiter=" ", ids=True)
    (split,) = photo_eval_sets([eval_set], tmp_path.parent)
    assert split.labels.tolist() == [0, 0]

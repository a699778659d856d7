"""A user's photos and what they show, in each form that they come in."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.data.photos import DatasetError
from models.training.data.query_photos import listed_photos, read_photos
from tests.models.training.data.readers.pictures import cut_short

VOC = """<annotation><filename>x.png</filename><object><name>tea</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>12</ymax></bndbox></object></annotation>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("x.png", "y.png"):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


def test_coco_without_its_crowds(folder: Path) -> None:
    notes = [
        {"image_id": 1, "category_id": 5, "bbox": [0, 0, 10, 12]},
        {"image_id": 1, "category_id": 6, "bbox": [0, 0, 30, 20], "iscrowd": 1},
    ]
    kinds = [{"id": 5, "name": "tea"}, {"id": 6, "name": "crowd"}]
    images = [{"id": 1, "file_name": "x.png"}, {"id": 2, "file_name": "y.png"}]
    file = folder / "coco.json"
    file.write_text(json.dumps({"images": images, "annotations": notes, "categories": kinds}), encoding="utf-8")
    x, y = read_photos(file)
    assert (x.labels, y.labels) == (("tea",), ())
    assert x.boxes is not None
    assert x.boxes.tolist() == [[0, 0, 10, 12]]
    assert x.read().shape == (20, 30, 3)
    (folder / "images").rename(folder / "elsewhere")
    assert len(read_photos(file, folder / "elsewhere")) == 2
    with pytest.raises(DatasetError, match=r"no file x\.png"):
        read_photos(file)


def test_voc(folder: Path) -> None:
    (folder / "annotations").mkdir()
    (folder / "annotations" / "x.xml").write_text(VOC, encoding="utf-8")
    (photo,) = read_photos(folder)
    assert photo.labels == ("tea",)
    assert photo.boxes is not None
    assert photo.boxes.tolist() == [[0, 0, 10, 12]]


def test_a_list_may_name_a_photo_for_each_of_its_labels(folder: Path) -> None:
    (folder / "list.txt").write_text("x.png\tgreen tea\ny.png\tcola\nx.png\tcola\n", encoding="utf-8")
    x, y = read_photos(folder / "list.txt", folder / "images")
    assert (x.labels, y.labels, x.boxes) == (("green tea", "cola"), ("cola",), None)


def test_a_folder_for_each_label(folder: Path) -> None:
    (photo, _) = read_photos(folder)
    assert (photo.name, photo.labels) == ("images/x.png", ("images",))


def test_the_third_column_counts_only_when_requested(folder: Path) -> None:
    (folder / "list.txt").write_text("images/x.png a 7\n", encoding="utf-8")
    assert [(p.label, p.id) for p in listed_photos(folder / "list.txt", with_id=True)] == [("a", "7")]
    assert [(p.label, p.id) for p in listed_photos(folder / "list.txt")] == [("a 7", "")]
    (folder / "list.txt").write_text("images/x.png, a, 7\n", encoding="utf-8")
    assert [(p.label, p.id) for p in listed_photos(folder / "list.txt", delimiter=", ")] == [("a", "")]
    with pytest.raises(DatasetError, match="no list file"):
        listed_photos(folder / "none.txt")


def test_broken_photos_are_reported_all_at_once(folder: Path) -> None:
    (folder / "annotations").mkdir()
    for name in ("x", "y"):
        text = VOC.replace("x.png", f"{name}.png")
        (folder / "annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    (folder / "list.txt").write_text("x.png\ttea\ny.png\ttea\n", encoding="utf-8")
    cut_short(folder / "images" / "x.png", folder / "images" / "y.png")
    message = r"2 bad picture\(s\): .*x\.png: .*y\.png: "
    with pytest.raises(DatasetError, match=message):
        read_photos(folder)
    with pytest.raises(DatasetError, match=message):
        listed_photos(folder / "list.txt", folder / "images")
    (folder / "images" / "x.png").unlink()
    with pytest.raises(DatasetError, match=r"no file x\.png"):
        listed_photos(folder / "list.txt", folder / "images")

"""COCO JSON: one foreground class, boxes as corners, crowds kept, and every fault named."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from models.training.data.photos import DatasetError
from models.training.data.readers.coco import parse_coco, read_coco
from tests.models.training.data.readers.pictures import write_picture

GOOD: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 12, "height": 9},
        {"id": 3, "file_name": "sub/b.png", "width": 12, "height": 9},
        {"id": 5, "file_name": "c.png", "width": 12, "height": 9},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12},
        {"id": 2, "image_id": 7, "category_id": 9, "bbox": [0.5, 0, 11.5, 9.0], "iscrowd": 1, "area": 99},
        {"id": 3, "image_id": 3, "category_id": 9, "bbox": [0, 0, 12, 9], "area": 108},
    ],
    "categories": [{"id": 2, "name": "瓶"}, {"id": 9, "name": "can"}],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/b.png", "c.png"):
        write_picture(tmp_path / "images" / name)
    return tmp_path


def write(root: Path, table: object) -> str:
    (root / "coco.json").write_text(json.dumps(table), encoding="utf-8")
    return "coco.json"


def test_every_category_is_the_foreground_and_boxes_are_corners(root: Path) -> None:
    first, second, third = read_coco(root, write(root, GOOD))
    assert (first.path, first.name, first.image_id) == (root / "images" / "a.png", "a.png", 7)
    assert (first.width, first.height) == (12, 9)
    np.testing.assert_array_equal(first.boxes, [[0.5, 0, 12, 9]])
    np.testing.assert_array_equal(second.boxes, [[1, 2, 4, 6], [0, 0, 12, 9]])
    assert first.boxes.dtype == np.float32
    assert (first.crowd.tolist(), second.crowd.tolist()) == ([True], [False, False])
    assert (first.categories, second.categories) == (("can",), ("瓶", "can"))
    assert third.boxes.shape == (0, 4)
    assert third.categories == ()


def test_the_same_boxes_as_the_reference_reader(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = COCO(str(root / write(root, GOOD)))
    capsys.readouterr()
    for photo in read_coco(root, "coco.json"):
        notes = [note for note in reference.dataset["annotations"] if note["image_id"] == photo.image_id]
        boxes = np.array([note["bbox"] for note in notes], np.float32).reshape(-1, 4)
        np.testing.assert_allclose(photo.boxes[:, 2:] - photo.boxes[:, :2], boxes[:, 2:])
        assert photo.crowd.tolist() == [bool(note.get("iscrowd")) for note in notes]


def test_all_faults_are_named_at_once(root: Path) -> None:
    table = json.loads(json.dumps(GOOD))
    table["images"] += [
        {"id": 8, "file_name": "gone.png"},
        {"id": 7, "file_name": "c.png"},
        {"file_name": "c.png"},
        {"id": 10},
        {"id": 11, "file_name": "c.png", "width": "wide"},
    ]
    table["annotations"] += [
        {"image_id": 99, "category_id": 2, "bbox": [0, 0, 1, 1]},
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 1, 1]},
        {"image_id": 3, "category_id": 2, "bbox": [0, 0, 1]},
        {"image_id": 3, "category_id": 2, "bbox": [0, 0, 1, None]},
        {"image_id": 3, "category_id": 2, "bbox": [0, 0, 1, 1], "iscrowd": "no"},
        {"image_id": 5, "category_id": 2, "bbox": [4, 4, 0, 1]},
        {"image_id": 8, "category_id": 2, "bbox": [0, 0, 1, 1]},
    ]
    with pytest.raises(DatasetError) as error:
        read_coco(root, write(root, table))
    message = error.value.detail
    assert message.startswith("coco.json: 11 fault(s): ")
    for part in (
        "images[3]: no file gone.png", "images[4]: id 7 was that of another", "images[5]: no id",
        "images[6]: no file_name", "images[7]: width and height", "annotations[3]: image_id 99",
        "annotations[4]: category_id 1", "annotations[5]: bbox [0, 0, 1] is", "annotations[6]: bbox",
        "annotations[7]: iscrowd", "image c.png: an empty box [4.0, 4.0, 4.0, 5.0]",
    ):  # fmt: skip
        assert part in message


def test_empty_boxes_may_be_left_out(root: Path) -> None:
    table = json.loads(json.dumps(GOOD))
    table["annotations"][0]["bbox"] = [1, 2, 0, 4]
    photos = read_coco(root, write(root, table), drop_empty=True)
    np.testing.assert_array_equal(photos[1].boxes, [[0, 0, 12, 9]])
    assert photos[1].categories == ("can",)
    assert len(photos[1].crowd) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "outermost is no object"),
        ('{"images": []}', "'annotations' is no list"),
        ('{"images": [1], "annotations": []}', "'images' is no list of objects"),
        ('{"images": [], "annotations": []}', "names no images"),
    ],
)
def test_no_coco_file(root: Path, content: str, message: str) -> None:
    (root / "bad.json").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_coco(root, "bad.json")
    with pytest.raises(DatasetError, match="no annotation file"):
        read_coco(root, "other.json")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("id", "file_name", "width", "height", "image_id", "category_id", "bbox", "iscrowd", "name"), VALUES
    ),
)


@settings(deadline=None)
@given(st.fixed_dictionaries({key: st.lists(ENTRY, max_size=3) for key in ("images", "annotations", "categories")}))
def test_whatever_the_entries_are_faults_are_reported_and_nothing_breaks(table: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos, faults = parse_coco(Path(folder), write(Path(folder), table))
        assert photos == []  # there is no picture
        assert len(faults) >= len(table["images"]) + len(table["annotations"])

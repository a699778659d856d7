"""Stanford Online Products: classes, ids and super classes, and every bad line named."""

from pathlib import Path

import pytest

from models.training.data.photos import DatasetError, Photo
from models.training.data.readers.sop import read_sop
from tests.models.training.data.readers.pictures import write_picture

HEADER = "image_id class_id super_class_id path\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        write_picture(tmp_path / "bicycle_final" / f"1_{number}.png", number)
    return tmp_path


def test_photos_with_class_id_and_super_class(root: Path) -> None:
    lines = "1 1 1 bicycle_final/1_0.png\n2 1 1 bicycle_final/1_1.png\r\n3 2 12 bicycle_final/1_2.png\n"
    (root / "Ebay_train.txt").write_text(HEADER + lines, encoding="utf-8")
    photos = read_sop(root)
    name = "bicycle_final/1_2.png"
    assert photos[2] == Photo(root / name, name, label="2", id="3", coarse="12")
    assert [photo.label for photo in photos] == ["1", "1", "2"]


def test_all_bad_lines_are_named_at_once(root: Path) -> None:
    lines = ["1 1 1 bicycle_final/1_0.png", "2 1 bicycle_final/1_0.png", "x 1 1 bicycle_final/1_0.png", "",
             "1 1 1 bicycle_final/1_1.png", "5 1 1 gone.png"]  # fmt: skip
    (root / "Ebay_test.txt").write_text(HEADER + "\n".join(lines), encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        read_sop(root, "Ebay_test.txt")
    message = error.value.detail
    assert message.startswith("Ebay_test.txt: 5 bad line(s): line 3: expected")
    assert "line 5: expected" in message
    assert "line 6: image_id 1 was that of line 2" in message
    assert message.endswith("line 7: no file gone.png")


@pytest.mark.parametrize("text", ["", "1 1 1 bicycle_final/1_0.png\n"])
def test_another_kind_of_file_is_reported(root: Path, text: str) -> None:
    (root / "Ebay_train.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match="does not begin with the line 'image_id class_id"):
        read_sop(root)
    (root / "Ebay_train.txt").write_text(HEADER, encoding="utf-8")
    with pytest.raises(DatasetError, match="names no photos"):
        read_sop(root)

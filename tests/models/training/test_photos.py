"""List files: what is in them, and every bad line at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.photos import MOST_TOLD, DatasetError, Photo, held_out, read_list, read_rgb


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c d.png"):
        Image.new("RGB", (4, 3), (250, 10, 20)).save(tmp_path / name)
    return tmp_path


def test_photos_in_their_order_with_their_labels(root: Path) -> None:
    (root / "list.tsv").write_text("b.png\t 可乐 \nc d.png\tred can\na.png\tred can\textra\n", encoding="utf-8")
    photos = read_list(root, "list.tsv")
    assert photos[0] == Photo(root / "b.png", "b.png", "可乐")
    assert [(photo.name, photo.label) for photo in photos[1:]] == [("c d.png", "red can"), ("a.png", "red can")]


def test_another_delimiter(root: Path) -> None:
    (root / "list.txt").write_text("a.png, 3, 1\nb.png, 4, 1", encoding="utf-8")
    assert [photo.label for photo in read_list(root, "list.txt", ", ")] == ["3", "4"]


def test_all_bad_lines_are_named_at_once(root: Path) -> None:
    lines = ["a.png\tgood", "b.png", "nowhere.png\tx", "", "a.png\t ", "../secret\ty", "b.png\tgood"]
    (root / "list.tsv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        read_list(root, "list.tsv")
    told = error.value.detail
    assert told.startswith("list.tsv: 5 bad line(s): ")
    for part in (
        "line 2: expected path", "line 3: no file nowhere.png", "line 4: expected path", "line 5: no label",
        "line 6: no file ../secret",
    ):  # fmt: skip
        assert part in told
    assert "line 1:" not in told
    assert "line 7:" not in told


def test_a_list_of_nothing_but_bad_lines_is_counted_to_the_end(root: Path) -> None:
    (root / "list.tsv").write_text("x\n" * (MOST_TOLD + 7), encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        read_list(root, "list.tsv")
    assert f"{MOST_TOLD + 7} bad line(s)" in error.value.detail
    assert error.value.detail.endswith("; and 7 more")


@pytest.mark.parametrize(("content", "told"), [(b"", "names no photos"), (b"\xff\xff", "not UTF-8")])
def test_no_list_of_photos(root: Path, content: bytes, told: str) -> None:
    (root / "list.tsv").write_bytes(content)
    with pytest.raises(DatasetError, match=told):
        read_list(root, "list.tsv")
    with pytest.raises(DatasetError, match=r"no list file .*other\.tsv"):
        read_list(root, "other.tsv")


def test_a_picture_is_read_as_rgb_and_upright(root: Path) -> None:
    assert read_rgb(root / "a.png")[0, 0].tolist() == [250, 10, 20]
    picture = Image.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[None, :, None], 24, 0).repeat(3, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.save(root / "turned.jpg", exif=exif, quality=95)
    turned = read_rgb(root / "turned.jpg")
    assert turned.shape == (8, 24, 3)
    assert turned[0, 0, 0] < turned[7, 0, 0]


def test_a_broken_picture_is_named(root: Path) -> None:
    (root / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"bad\.png is not a picture"):
        read_rgb(root / "bad.png")


def test_every_second_label_is_held_out() -> None:
    photos = [Photo(Path(), "", label) for label in "dbacbeda"]
    assert held_out(photos) == {"b", "d"}

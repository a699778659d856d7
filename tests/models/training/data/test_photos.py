"""What training takes of photos: their pixels, upright and whole, and which labels it leaves out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.data.photos import DatasetError, Photo, held_out, read_rgb, refuse_faults


def test_a_picture_is_read_as_rgb_and_upright(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), (250, 10, 20)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png")[0, 0].tolist() == [250, 10, 20]
    picture = Image.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[None, :, None], 24, 0).repeat(3, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = read_rgb(tmp_path / "turned.jpg")
    assert turned.shape == (8, 24, 3)
    assert turned[0, 0, 0] < turned[7, 0, 0]


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"bad\.png is not a picture"):
        read_rgb(tmp_path / "bad.png")
    with pytest.raises(DatasetError, match=r"no file .*gone\.png"):
        read_rgb(tmp_path / "gone.png")


def test_a_picture_that_was_cut_short_is_not_trained_on_with_a_grey_rest(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-900])
    with pytest.raises(DatasetError, match=r"cut\.jpg is not a picture"):
        read_rgb(tmp_path / "cut.jpg")


def test_every_second_label_is_held_out() -> None:
    photos = [Photo(Path(), "", label) for label in "dbacbeda"]
    assert held_out(photos) == {"b", "d"}


def test_no_faults_are_no_error() -> None:
    refuse_faults("list.tsv", [])

"""Pictures with boxes: VOC folders, photos that a teacher annotates, the pool, and batches drawn from it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.detection_data import (
    BatchMaker,
    PictureSource,
    build_pool,
    load_pool,
    read_voc,
)
from models.training.detection_views import Variation
from models.training.photos import DatasetError

CALM = Variation(gain=0.0, grey=0.0, blur=0.0, noise=0.0, mosaic=0.0)


def voc_folder(
    folder: Path, count: int, box: str = "<xmin>{0}</xmin><ymin>5</ymin><xmax>30</xmax><ymax>40</ymax>"
) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / "images" / f"p{number}.png"), np.full((48, 64, 3), 10 * number, np.uint8))
        (folder / "annotations" / f"p{number}.xml").write_text(
            f"<annotation><filename>p{number}.png</filename><object><name>x</name>"
            f"<bndbox>{box.format(number)}</bndbox></object></annotation>",
            encoding="utf-8",
        )
    return folder


def test_voc_boxes_count_from_one_and_every_second_photo_can_be_held_out(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "voc", 5)
    everything = read_voc(root)
    assert [p.boxes[0].tolist() for p in everything] == [[n - 1, 4, 30, 40] for n in range(1, 6)]
    training, measured = read_voc(root, holdout=True), read_voc(root, held_out=True)
    assert [int(p.image[0, 0, 0]) for p in training] == [10, 30, 50]
    assert [int(p.image[0, 0, 0]) for p in measured] == [20, 40]


@pytest.mark.parametrize(
    "box",
    [
        "<xmin>9</xmin><ymin>5</ymin><xmax>3</xmax><ymax>40</ymax>",
        "<xmin>1</xmin><ymin>5</ymin><ymax>40</ymax>",
        "<xmin>one</xmin><ymin>5</ymin><xmax>3</xmax><ymax>40</ymax>",
    ],
    ids=["swapped", "incomplete", "no number"],
)
def test_a_bad_box_is_named(tmp_path: Path, box: str) -> None:
    with pytest.raises(DatasetError, match=r"p1\.xml"):
        read_voc(voc_folder(tmp_path / "voc", 1, box))


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="annotations"):
        read_voc(tmp_path)


def test_the_pool_keeps_pictures_boxes_and_sources(tmp_path: Path) -> None:
    voc_folder(tmp_path / "data" / "voc", 4)
    sources = (
        PictureSource("rendered", "scenes", count=3),
        PictureSource("voc", "photos", root="voc", holdout=True),
    )
    told: list[tuple[str, int, int]] = []
    build_pool(sources, 96, tmp_path / "data", tmp_path / "pool", lambda *line: told.append(line))
    pool = load_pool(tmp_path / "pool")
    assert pool.images.shape == (5, 96, 96, 3)
    assert pool.sources.tolist() == [0, 0, 0, 1, 1]
    assert told[-1] == ("photos", 5, 5)
    assert pool.boxes.min() >= 0
    assert pool.boxes.max() <= 1
    np.testing.assert_allclose(pool.picture(3).boxes, [[0, 8, 45, 80]], atol=1e-4)
    build_pool(sources, 96, None, tmp_path / "pool", lambda *line: told.append(line))  # finished: kept
    assert len(told) == 5


def test_photos_need_a_data_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--data"):
        build_pool((PictureSource("voc", "photos", root="voc"),), 96, None, tmp_path / "pool", lambda *_: None)


def test_a_batch_is_decided_by_its_step_and_by_the_shares(tmp_path: Path) -> None:
    voc_folder(tmp_path / "data" / "voc", 3)
    sources = (PictureSource("rendered", "scenes", count=2), PictureSource("voc", "photos", root="voc"))
    build_pool(sources, 64, tmp_path / "data", tmp_path / "pool", lambda *_: None)
    pool = load_pool(tmp_path / "pool")
    make = BatchMaker(pool, (1.0, 1.0), 5, Variation())
    images, boxes = make(3, 4, 64)
    again, boxes_again = BatchMaker(pool, (1.0, 1.0), 5, Variation())(3, 4, 64)
    assert images.shape == (4, 64, 64, 3)
    assert (images == again).all()
    assert all((a == b).all() for a, b in zip(boxes, boxes_again, strict=True))
    assert (images != make(4, 4, 64)[0]).any()
    photos_only, _ = BatchMaker(pool, (0.0, 1.0), 5, CALM)(0, 16, 64)
    # The photos are of one grey each; what a view shows beyond them is of one colour too.
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) < 64 for image in photos_only)

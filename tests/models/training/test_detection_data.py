"""Pictures with boxes: VOC folders, the pool, and that boxes follow their pixels through every change."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.detection_data import (
    BatchMaker,
    Picture,
    PictureSource,
    Variation,
    build_pool,
    load_pool,
    mosaic,
    read_voc,
    to_square,
    vary,
    visible,
)
from models.training.photos import DatasetError

CALM = Variation(gain=0.0, grey=0.0, blur=0.0, noise=0.0, mosaic=0.0)
GREY, WHITE = 90, 255


def marked_picture(height: int = 120, width: int = 160, box: tuple[int, int, int, int] = (40, 30, 90, 80)) -> Picture:
    """A white rectangle on grey, and its box."""
    image = np.full((height, width, 3), GREY, np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = WHITE
    return Picture(image, np.array([box], np.float32))


def where_white(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The box of what is nearer to white than to grey."""
    ys, xs = np.nonzero(image.min(axis=2) > (GREY + WHITE) / 2)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float64)


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


@pytest.mark.parametrize("seed", range(12))
def test_a_varied_box_still_encloses_its_pixels(seed: int) -> None:
    varied = vary(marked_picture(), 128, np.random.default_rng(seed), CALM)
    if len(varied.boxes) == 0:
        return  # zoomed past it
    x1, y1, x2, y2 = (round(float(c)) for c in varied.boxes[0])
    inside = varied.image[max(0, y1 + 2) : y2 - 2, max(0, x1 + 2) : x2 - 2]
    assert (inside.min(axis=2) > (GREY + WHITE) / 2).all()


def test_zoom_and_mirror_move_a_box_exactly() -> None:
    """No room to shift: the picture as it is, but mirrored or not, twice as large."""
    still = Variation(zoom=(1.0, 1.0), aspect=1.0, flip=0.0, mosaic=0.0, gain=0.0, grey=0.0, blur=0.0, noise=0.0)
    for flip, expected in ((0.0, [80, 60, 180, 160]), (1.0, [76, 60, 176, 160])):
        picture = marked_picture(128, 128)
        changed = Variation(**{**vars(still), "flip": flip})
        varied = vary(picture, 256, np.random.default_rng(1), changed)
        np.testing.assert_allclose(varied.boxes[0], expected, atol=1e-3)
        np.testing.assert_allclose(where_white(varied.image), expected, atol=1.01)


def test_a_mosaic_moves_boxes_into_their_quadrants() -> None:
    made = mosaic([marked_picture()] * 4, 200, np.random.default_rng(2))
    assert made.image.shape == (200, 200, 3)
    assert made.boxes.shape == (4, 4)
    for x1, y1, x2, y2 in np.round(made.boxes).astype(int):
        assert (made.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] > 200).all()
        assert x1 < x2
        assert y1 < y2


def test_a_square_is_stretched_with_its_boxes() -> None:
    square = to_square(marked_picture(100, 200, (20, 10, 100, 60)), 100)
    assert square.boxes.tolist() == [[10, 10, 50, 60]]
    np.testing.assert_allclose(where_white(square.image), [10, 10, 50, 60], atol=1)


def test_what_is_mostly_cut_off_is_no_object_any_more() -> None:
    boxes = np.array([[-90, 10, 10, 50], [-10, 10, 90, 50], [200, 0, 220, 20], [5, 5, 7, 7]], np.float32)
    assert visible(boxes, 100).tolist() == [[0, 10, 90, 50]]
    assert visible(np.zeros((0, 4), np.float32), 100).shape == (0, 4)


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

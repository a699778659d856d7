"""Answers drawn over a photo."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from infra.pictures import fonts
from infra.pictures.drawing import COLOURS
from infra.pictures.fonts import font_for
from shitu.cli.annotate import annotate, legend

DEJAVU = str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")  # Greek and Cyrillic, no Chinese


def test_boxes_are_outlined_and_labels_have_colours_of_their_own() -> None:
    photo = np.full((200, 300, 3), 240, np.uint8)
    before = photo.copy()
    found = [
        {"box": [20, 60, 120, 160], "label": "cola", "probability": 0.91},
        {"box": [180, 60, 290, 190], "label": "tea", "probability": 0.5},
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
    found = [{"box": [5 + 60 * n, 40, 50 + 60 * n, 90], "label": "tea", "probability": 0.5} for n in range(2)]
    picture = np.asarray(annotate(np.zeros((100, 130, 3), np.uint8), found))
    assert tuple(picture[89, 20]) == tuple(picture[89, 80]) == COLOURS[0]


@pytest.mark.parametrize("box", [[0, 0, 64, 48], [0, 0, 1, 1], [60, 44, 64, 48], [10.7, 5.1, 11.2, 5.6]])
def test_boxes_at_the_edge_or_tiny_ones_are_drawn_too(box: list[float]) -> None:
    photo = np.zeros((48, 64, 3), np.uint8)
    picture = np.asarray(annotate(photo, [{"box": box, "label": "a very long label, 可乐", "probability": 1.0}]))
    assert picture.shape == photo.shape
    assert picture.any()


def test_nothing_found_changes_nothing() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(annotate(photo, [])), photo)


def drawn(*labels: str) -> NDArray[np.uint8]:
    found = [
        {"box": [5, 40 + 60 * n, 150, 90 + 60 * n], "label": name, "probability": 0.5} for n, name in enumerate(labels)
    ]
    return np.asarray(annotate(np.zeros((60 * len(labels) + 50, 160, 3), np.uint8), found))


def found(*labels: str) -> list[dict[str, object]]:
    return [{"box": [0, 0, 9, 9], "label": label, "probability": 0.5} for label in labels]


def test_what_no_font_writes_is_a_number_with_a_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "faces", lambda: (DEJAVU, "no-such-font.ttf", ""))
    assert legend(found("可乐", "cola", "чай", "녹차", "可乐")) == {"可乐": 1, "녹차": 2}
    np.testing.assert_array_equal(drawn("可乐"), drawn("#1"))
    np.testing.assert_array_equal(drawn("녹차", "可乐"), drawn("#2", "#1"))


def test_what_a_font_of_the_system_writes_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "faces", lambda: ("",))
    assert legend(found("Rosé", "чай", "tea")) == {"Rosé": 1, "чай": 2}
    monkeypatch.setattr(fonts, "faces", lambda: ("", DEJAVU))
    assert legend(found("Rosé", "чай", "tea")) == {}
    assert font_for("чай", 12) is not font_for("tea", 12)
    assert (drawn("чай") != drawn("#1")).any()

"""The sheet of neighbours, and how labels are written."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.evaluation.contact_sheets import (
    FRAME_PX,
    GAP_PX,
    QUERY,
    RIGHT,
    WRONG,
    Near,
    Query,
    draw_neighbours,
    font_of,
    shortened,
    thumbnail,
    written,
)


def grey(path: Path) -> NDArray[np.uint8]:
    height, width = {"wide": (10, 300), "high": (300, 10)}.get(path.name, (50, 50))
    return np.full((height, width, 3), 128, np.uint8)


def test_frames_say_what_is_right(tmp_path: Path) -> None:
    near = (Near(Path("wide"), "a", 0.9, True), Near(Path("high"), "b", 0.5, False))
    queries = [Query(Path("q"), "a", near), Query(Path("q"), "b", ())]
    names = {"a": "a", "b": "a label much longer than its picture is wide"}
    draw_neighbours(queries, "title", tmp_path / "n.png", grey, names)
    with Image.open(tmp_path / "n.png") as picture:
        pixels = np.asarray(picture)
    column = pixels[:, GAP_PX + FRAME_PX // 2]
    first = int(np.flatnonzero((column == QUERY).all(axis=1))[0])
    row = pixels[first + FRAME_PX // 2]
    runs = [tuple(int(v) for v in row[x]) for x in np.flatnonzero((row[1:] != row[:-1]).any(axis=1)) + 1]
    assert [colour for colour in runs if colour in (QUERY, RIGHT, WRONG)] == [QUERY, RIGHT, WRONG]


def test_thumbnails_keep_their_ratio() -> None:
    assert thumbnail(grey(Path("wide")), 30).size == (30, 1)
    assert thumbnail(grey(Path("high")), 600).size == (20, 600)


def test_labels_without_a_font_are_written_by_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.evaluation.contact_sheets.WIDE_FONTS", ())
    font_of.cache_clear()
    try:
        assert written(["Coca-Cola 0,5 l", "脉动", "line\nbreak", "Änne"]) == {
            "Coca-Cola 0,5 l": "Coca-Cola 0,5 l",
            "脉动": "label 2",
            "line\nbreak": "label 3",
            "Änne": "Änne",
        }
    finally:
        font_of.cache_clear()


def test_long_texts_lose_their_middle() -> None:
    font = font_of(13)
    assert shortened("short", font, 100) == "short"
    cut = shortened("Golden-Delicious apples of the north", font, 100)
    assert font.getlength(cut) <= 100
    assert cut.startswith("Golden")
    assert cut.endswith("north")
    assert "…" in cut
    assert shortened("WWWW", font, 1) == "W"

"""Tags in any script, that hide neither their neighbours nor each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infra.pictures import drawing, fonts
from infra.pictures.drawing import COLOURS, Mark, drawn
from infra.pictures.tags import placed, shared

SCRIPTS = [
    "可口可乐 经典",
    "Молоко «Простоквашино»",
    "Crème brûlée",
    "緑茶 ラテ",
    "녹차 라떼",
    "ชาเขียว",
    "दूध",
    "חלב",
    "حليب",
]


@pytest.mark.parametrize("label", [*SCRIPTS, "Чай 绿茶 tea", "ชา 茶"])
def test_every_script_is_written_by_the_packages_fonts(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = tuple(face for face in fonts.faces() if "manimgx" in face)
    monkeypatch.setattr(fonts, "faces", lambda: packaged)
    found = fonts.runs(label, 20)
    assert found is not None
    assert "".join(text for text, _ in found) == label
    for text, font in found:
        assert fonts.font_for(text, 20) is font


def test_the_chinese_font_is_no_hairline() -> None:
    font = fonts.font_for("可乐", 40)
    assert font is not None
    assert np.asarray(font.getmask("可乐"), np.uint8).mean() > 40  # of the variable font's default, thin, it is 15


def test_tags_do_not_cover_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shelf without room between the products above one another, and long labels."""
    boxes = [
        (8.0 + 132 * (n % 6), 60.0 + 190 * (n // 6), 132.0 + 132 * (n % 6), 230.0 + 190 * (n // 6)) for n in range(12)
    ]
    best, tags = drawing._best, []

    def noted(*about: Any) -> Any:
        tag, place = best(*about)
        tags.append(place)
        return tag, place

    monkeypatch.setattr(drawing, "_best", noted)
    photo = drawn(
        Image.new("RGB", (810, 470)), [Mark(box, f"{SCRIPTS[n % 9]} {n}", 0.7) for n, box in enumerate(boxes)]
    )
    assert np.asarray(photo).any()
    assert len(tags) == 12
    for at, tag in enumerate(tags):
        others = [*boxes[:at], *boxes[at + 1 :], *tags[:at], *tags[at + 1 :]]
        assert [other for other in others if shared(tag, other)] == [], at


rectangle = st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(4, 120), st.integers(4, 120))


@given(st.lists(rectangle, min_size=1, max_size=8), st.integers(10, 90), st.integers(8, 20))
@settings(max_examples=60, deadline=None)
def test_a_tag_lies_in_the_picture_and_hides_what_it_says(
    sizes: list[tuple[int, int, int, int]], w: int, h: int
) -> None:
    boxes = [(float(x), float(y), float(x + dx), float(y + dy)) for x, y, dx, dy in sizes]
    tags: list[tuple[float, float, float, float]] = []
    for at in range(len(boxes)):
        hides, tag = placed(at, boxes, tags, w, h, (420, 320))
        assert 0 <= tag[0] < tag[2] <= 420
        assert 0 <= tag[1] < tag[3] <= 320
        if hides == 0:
            assert not any(shared(tag, other) for other in (*tags, *(box for n, box in enumerate(boxes) if n != at)))
        tags.append(tag)


def test_a_label_without_a_font_is_its_number_and_none_is_needed() -> None:
    box = (20.0, 60.0, 120.0, 160.0)
    first, second = (
        np.asarray(drawn(Image.new("RGB", (300, 200)), [Mark(box, "\U0010fffe", 0.5)], {"\U0010fffe": number}))
        for number in (3, 4)
    )
    assert (first != second).any()
    bare = np.asarray(drawn(Image.new("RGB", (300, 200)), [Mark(box, "", None)]))
    assert tuple(bare[110, 20]) == COLOURS[0]

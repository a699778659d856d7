"""What the speed benchmarks make of what they measure: ratios, targets, the kept JSON and the picture of it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.speed import rows
from benchmarks.speed.photos import distinct, scene
from benchmarks.speed.rows import Context, Row, draw, interleaved, keep, kept, ratio
from contracts.pictures import look
from models.pictures.image import decode


def test_a_target_is_reached_from_its_own_side() -> None:
    assert Row("a", 1.31, "x", 1.3, "at least").met
    assert not Row("a", 1.29, "x", 1.3, "at least").met
    assert Row("a", 4.9, "ms", 5, "at most").met
    assert not Row("a", 5.1, "ms", 5, "at most").met
    assert Row("a", 5.1, "ms").met is None


def test_a_ratio_is_the_median_of_neighbours_and_no_slow_minute_changes_it() -> None:
    assert ratio([20.0, 200.0, 22.0], [10.0, 100.0, 11.0]) == 2.0


def test_variants_take_turns_and_warm_up_unseen() -> None:
    turns: list[str] = []
    times = interleaved({name: lambda name=name: turns.append(name) for name in "ab"}, rounds=2, warm_up=1)  # type: ignore[misc]
    assert "".join(turns) == "ababab"
    assert {name: len(taken) for name, taken in times.items()} == {"a": 2, "b": 2}


def test_what_is_kept_is_read_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    keep("start", [Row("a <row>", 1.23456, "s", 1.5, "at most"), Row("b", 2.0, "s")], Context(True, None))
    report = kept("start")
    assert report is not None
    assert report["rows"][0]["value"] == 1.235
    assert report["rows"][0]["met"] is True
    assert report["command"] == "python -m benchmarks.speed start --quick"
    assert json.loads((tmp_path / "start.json").read_text(encoding="utf-8")) == report
    draw([report], tmp_path / "speed.svg")
    drawn = "".join(ElementTree.parse(tmp_path / "speed.svg").getroot().itertext())
    assert "a <row>" in drawn
    assert "b" not in drawn.replace("a <row>", "")
    assert kept("nothing") is None


def test_distinct_photos_are_one_picture_in_other_bytes() -> None:
    photo = scene(0)
    one, two = distinct(photo, 1), distinct(photo, 2)
    assert len({photo, one, two}) == 3
    assert look(one).format == "JPEG"
    assert (decode(one) == decode(photo)).all()

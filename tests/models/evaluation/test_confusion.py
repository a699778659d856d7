"""Confusion tables: what is counted, what is right, and what the files hold."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from models.evaluation.confusion import Pair, count_pairs, draw_confusion, shown_labels, write_confusion

PAIRS: list[Pair] = [("a", "a"), ("a", "a"), ("a", "b"), ("b", None), (None, "a"), ("x", None), ("x", "a"), ("a", "b")]


def test_mistakes_come_first_and_no_answer_is_right_for_a_unknown() -> None:
    table = count_pairs(PAIRS, ["c"], ["x"]).to_dict()
    assert table["labels"] == ["a", "b", "c", "x"]
    assert table["unknowns"] == ["x"]
    assert [(one["truth"], one["answer"], one["count"]) for one in table["pairs"]] == [
        ("a", "b", 2), (None, "a", 1), ("b", None, 1), ("x", "a", 1), ("a", "a", 2), ("x", None, 1),
    ]  # fmt: skip


def test_the_files_hold_every_label(tmp_path: Path) -> None:
    write_confusion(count_pairs(PAIRS, ["c"], ["x"]), tmp_path)
    with (tmp_path / "confusion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["truth \\ answer", "a", "b", "c", "x", "(not found)"]
    assert [row[0] for row in rows[1:]] == ["a", "b", "c", "x", "(nothing there)"]
    np.testing.assert_array_equal(
        np.array(rows)[1:, 1:].astype(int),
        [[2, 2, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1], [1, 0, 0, 0, 0]],
    )
    assert json.loads((tmp_path / "confusion.json").read_text(encoding="utf-8"))["pairs"][0]["count"] == 2
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.format == "PNG"


def test_the_picture_shows_the_most_confused_labels_and_folds_the_others(tmp_path: Path) -> None:
    pairs: list[Pair] = [(str(n), str(n)) for n in range(60)] + [("7", "41"), ("7", "41"), ("3", None)]
    confusion = count_pairs(pairs)
    shown = shown_labels(confusion, 3)
    assert shown == ["3", "41", "7"]
    draw_confusion(confusion, tmp_path / "many.png")
    draw_confusion(count_pairs([(str(n), str(n)) for n in range(25)]), tmp_path / "fewer.png")
    with Image.open(tmp_path / "many.png") as many, Image.open(tmp_path / "fewer.png") as fewer:
        assert many.size == fewer.size


def test_right_answers_are_green_and_mistakes_red(tmp_path: Path) -> None:
    def colours(pairs: list[Pair], unknowns: list[str]) -> tuple[bool, bool]:
        draw_confusion(count_pairs(pairs, (), unknowns), tmp_path / "t.png")
        with Image.open(tmp_path / "t.png") as picture:
            pixels = np.asarray(picture, np.int16)
        green = (pixels[..., 1] - pixels[..., 0] > 60).any()
        red = (pixels[..., 0] - pixels[..., 1] > 60).any()
        return bool(green), bool(red)

    assert colours([("a", "a")], []) == (True, False)
    assert colours([("a", None)], []) == (False, True)
    assert colours([("a", None)], ["a"]) == (True, False)
    assert colours([(None, "a")], []) == (False, True)


def test_nothing_seen_is_a_table_still(tmp_path: Path) -> None:
    write_confusion(count_pairs([]), tmp_path)
    assert (tmp_path / "confusion.png").stat().st_size > 0

"""Exams on photos that are read as they are embedded."""

from pathlib import Path

import numpy as np
import pytest

from models.training import metric_exams
from models.training.metric_exams import examine_photos, photo_sheets, recall_at_1_in_blocks, source_photos
from models.training.photos import DatasetError
from models.training.recipe import Exam, ViewSource
from tests.models.training.photo_data import LABELS, write_photos

HELD_OUT = Exam("held_out", "held", root="shop", file="labels.tsv")
LISTS = Exam("lists", "lists", root="shop", file="ask.tsv", gallery_file="labels.tsv")


def colour(images: np.ndarray) -> np.ndarray:
    """(N, s, s, 3) -> the mean colour around the middle one, by which photo_data's labels differ."""
    return images.mean(axis=(1, 2)).astype(np.float32) - 127


@pytest.mark.parametrize("same", [False, True])
def test_blocks_answer_as_one_query_after_the_other(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_exams, "BLOCK", 3)
    rng = np.random.default_rng(0)
    gallery, labels = rng.normal(size=(20, 3)).astype(np.float32), rng.integers(0, 6, 20)
    labels[0] = 77  # alone
    queries, asked = (
        (gallery, labels) if same else (rng.normal(size=(11, 3)).astype(np.float32), rng.integers(0, 8, 11))
    )
    right = total = 0
    for number, (query, label) in enumerate(zip(queries, asked, strict=True)):
        others = [other for other in range(20) if not (same and other == number)]
        if label not in labels[others]:
            continue
        total += 1
        right += labels[max(others, key=lambda other: float(gallery[other] @ query))] == label
    assert 0 < right < total
    got = recall_at_1_in_blocks(queries, asked, gallery, labels, same=same)
    assert got == pytest.approx(right / total)


def test_nothing_to_ask_is_not_a_number() -> None:
    rows, labels = np.eye(3, dtype=np.float32), np.arange(3)
    assert np.isnan(recall_at_1_in_blocks(rows, labels, rows, labels, same=True))


def test_held_out_labels_ask_each_other_and_lists_a_gallery(tmp_path: Path) -> None:
    write_photos(tmp_path)
    (tmp_path / "shop" / "ask.tsv").write_text("a0.png\ta\nb0.png\tc\nc1.png\tc\n", encoding="utf-8")
    held, lists = photo_sheets([HELD_OUT, LISTS], tmp_path)
    assert {photo.label for photo in held.photos} == set(LABELS[1::2])
    assert not held.searched.any()
    assert lists.searched.tolist() == [False] * 3 + [True] * 12
    figures = examine_photos(colour, [held, lists], 16)
    assert figures == {"held": 1.0, "lists": pytest.approx(2 / 3)}


def test_stanford_online_products_own_lists_are_told_by_their_first_line(tmp_path: Path) -> None:
    write_photos(tmp_path)
    lines = ["image_id class_id super_class_id path"]
    lines += [f"{2 * n + i + 1} {n + 1} 1 {label}{i}.png" for n, label in enumerate(LABELS) for i in range(2)]
    (tmp_path / "shop" / "Ebay_test.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = ViewSource("list", "sop", root="shop", file="Ebay_test.txt")
    photos = source_photos(source, tmp_path)
    assert [photo.label for photo in photos] == [str(n + 1) for n in range(6) for _ in range(2)]
    sheets = photo_sheets([Exam("lists", "sop", root="shop", file="Ebay_test.txt")], tmp_path)
    assert examine_photos(colour, sheets, 16) == {"sop": 1.0}
    half = source_photos(ViewSource("list", "sop", root="shop", file="Ebay_test.txt", holdout=True), tmp_path)
    assert {photo.label for photo in half} == {"1", "3", "5"}


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    write_photos(tmp_path)
    assert photo_sheets([HELD_OUT], None) == []
    with pytest.raises(DatasetError, match=r"nothing\.tsv"):
        photo_sheets([Exam("lists", "x", root="shop", file="nothing.tsv")], tmp_path)
    (tmp_path / "shop" / "ones.tsv").write_text("a0.png\ta\nb0.png\tb\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="'ones' has no label with two photos"):
        photo_sheets([Exam("lists", "ones", root="shop", file="ones.tsv")], tmp_path)
    with pytest.raises(DatasetError, match="'s' needs a data folder"):
        source_photos(ViewSource("list", "s", root="shop", file="labels.tsv"), None)

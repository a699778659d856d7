"""Eval sets on photos that are read as they are embedded."""

from pathlib import Path

import numpy as np
import pytest

from models.evaluation.photo_recall import evaluate_photos
from models.evaluation.photo_sets import photo_eval_sets
from models.training.data.photos import DatasetError
from models.training.recipes.pictures import EvalSource
from tests.models.training.data.readers.pictures import cut_short
from tests.models.training.photo_data import LABELS, write_photos

HELD_OUT = EvalSource("held_out", "held", root="shop", file="labels.tsv")
LISTS = EvalSource("lists", "lists", root="shop", file="queries.tsv", gallery_file="labels.tsv")


def colour(images: np.ndarray) -> np.ndarray:
    """(N, s, s, 3) -> the mean colour around the middle one, by which photo_data's labels differ."""
    return images.mean(axis=(1, 2)).astype(np.float32) - 127


def test_held_out_labels_query_each_other_and_lists_a_gallery(tmp_path: Path) -> None:
    write_photos(tmp_path)
    (tmp_path / "shop" / "queries.tsv").write_text("a0.png\ta\nb0.png\tc\nc1.png\tc\n", encoding="utf-8")
    held, lists = photo_eval_sets([HELD_OUT, LISTS], tmp_path)
    assert {photo.label for photo in held.photos} == set(LABELS[1::2])
    assert not held.gallery.any()
    assert lists.gallery.tolist() == [False] * 3 + [True] * 12
    metrics = evaluate_photos(colour, [held, lists], 16)
    assert metrics == {"held": 1.0, "lists": pytest.approx(2 / 3)}


def test_stanford_online_products_own_lists_are_recognised_by_their_first_line(tmp_path: Path) -> None:
    write_photos(tmp_path)
    lines = ["image_id class_id super_class_id path"]
    lines += [f"{2 * n + i + 1} {n + 1} 1 {label}{i}.png" for n, label in enumerate(LABELS) for i in range(2)]
    (tmp_path / "shop" / "Ebay_test.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    splits = photo_eval_sets([EvalSource("lists", "sop", root="shop", file="Ebay_test.txt")], tmp_path)
    assert evaluate_photos(colour, splits, 16) == {"sop": 1.0}


def test_what_is_missing_is_reported(tmp_path: Path) -> None:
    write_photos(tmp_path)
    assert photo_eval_sets([HELD_OUT], None) == []
    with pytest.raises(DatasetError, match=r"nothing\.tsv"):
        photo_eval_sets([EvalSource("lists", "x", root="shop", file="nothing.tsv")], tmp_path)
    (tmp_path / "shop" / "ones.tsv").write_text("a0.png\ta\nb0.png\tb\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="'ones' has no label with two photos"):
        photo_eval_sets([EvalSource("lists", "ones", root="shop", file="ones.tsv")], tmp_path)


def test_broken_photos_of_all_eval_sets_are_reported_at_once(tmp_path: Path) -> None:
    write_photos(tmp_path)
    (tmp_path / "shop" / "queries.tsv").write_text("a0.png\ta\na1.png\ta\n", encoding="utf-8")
    cut_short(tmp_path / "shop" / "a0.png", tmp_path / "shop" / "b1.png")
    eval_sets = [HELD_OUT, EvalSource("lists", "queries", root="shop", file="queries.tsv")]
    with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*a0\.png: .*b1\.png: "):
        photo_eval_sets(eval_sets, tmp_path)
    for name in ("a0.png", "d1.png"):
        (tmp_path / "shop" / name).unlink()
    with pytest.raises(DatasetError, match=r"labels\.tsv: 2 .*no file a0\.png.*no file d1\.png"):
        photo_eval_sets(eval_sets, tmp_path)

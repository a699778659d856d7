"""`shitu gallery feedback`: counted, and written so that training and evaluation read it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from infra.galleries.feedback import GalleryFeedback, Verdict
from infra.galleries.files import Box
from infra.galleries.store import GalleryStore
from infra.objects.store import ObjectStore, image_key_of
from models.evaluation.photo_sets import photo_eval_sets
from models.pictures.image import with_margin
from models.training.data import query_photos
from models.training.data.lint import lint
from models.training.data.readers.labelled import read_photos
from models.training.recipes.embedder import EvalSource
from shitu.cli.main import main
from tests.shitu.cli.test_galleries import drinks, objects, run, served, store
from tests.shitu.cli.test_galleries import report as reported

__all__ = ["drinks", "objects", "served", "store"]  # fixtures

BOX = (20, 10, 60, 50)


def photo(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 96, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def reviewed(drinks: str, store: GalleryStore, objects: ObjectStore) -> str:
    """Six photos with a labelled box each, one of them with feedback twice, and a crowd."""
    book = GalleryFeedback(objects, store)

    def say(seed: int, verdict: Verdict, label: str | None, box: Box | None = BOX) -> None:
        key = objects.put_image(photo(seed))
        book.add(drinks, f"rec_{seed}", 3, box, verdict, "cola", label, key, (96, 80))

    for seed in range(6):
        say(seed, "wrong", "not this")
        say(seed, "right", f"可乐 {seed % 2}")
    say(5, "ignore", None, (70, 10, 90, 50))
    return drinks


@pytest.mark.parametrize("through_service", [False, True])
def test_it_is_written_as_crops_and_as_boxes(
    reviewed: str, served: tuple[str, str], tmp_path: Path, through_service: bool
) -> None:
    way = served if through_service else ()
    assert reported("feedback", reviewed, *way) == {
        "gallery": reviewed,
        "counts": {"right": 6, "wrong": 6, "ignore": 1},
    }
    out = tmp_path / "reviewed"
    answer = run("feedback", reviewed, "--out", out, *way)
    assert (answer.exit_code, answer.stdout) == (0, "6 right, 6 wrong, 1 ignore\n"), answer.output
    read = read_photos(out, "labels.tsv", ids=True)  # as a recipe's source does
    assert [one.label for one in read] == ["可乐 0", "可乐 1"] * 3
    assert [one.id for one in read] == [f"rec_{seed}" for seed in range(6)]
    x1, y1, x2, y2 = with_margin(BOX, 80, 96)
    for seed, one in enumerate(read):
        np.testing.assert_array_equal(
            np.asarray(Image.open(one.path)), np.asarray(Image.open(io.BytesIO(photo(seed))))[y1:y2, x1:x2]
        )
    report = lint([out / "labels.tsv"])
    assert (report.pictures, report.labels, report.errors) == (6, 2, 0), report.findings
    boxed = query_photos.read_photos(out / "coco.json")
    assert [one.boxes.tolist() for one in boxed if one.boxes is not None] == [[[20, 10, 60, 50]]] * 6
    assert [one.labels for one in boxed] == [("可乐 0",), ("可乐 1",)] * 3


def test_a_recipes_lists_may_hold_photos_out(reviewed: str, tmp_path: Path) -> None:
    out = tmp_path / "reviewed"
    assert run("feedback", reviewed, "--out", out, "--holdout").exit_code == 0
    trained, kept = ((out / name).read_text("utf-8").splitlines() for name in ("train.tsv", "eval.tsv"))
    assert (len(trained), len(kept)) == (5, 1)
    source = EvalSource("lists", "reviewed", root="reviewed", file="eval.tsv", gallery_file="train.tsv", ids=True)
    (split,) = photo_eval_sets([source], tmp_path)
    assert (len(split.photos), int(split.gallery.sum())) == (6, 5)


@pytest.mark.slow
def test_evaluation_takes_it(reviewed: str, tmp_path: Path) -> None:
    out = tmp_path / "reviewed"
    assert run("feedback", reviewed, "--out", out).exit_code == 0
    answer = CliRunner().invoke(main, ["evaluate", "retrieval", "--query", str(out / "labels.tsv"), "--ids"])
    assert answer.exit_code == 0, answer.output
    assert 0 <= json.loads(answer.stdout)["recall@1"] <= 1


def test_a_photo_that_is_gone_is_reported_and_the_others_are_written(
    reviewed: str, objects: ObjectStore, served: tuple[str, str], tmp_path: Path
) -> None:
    objects.delete(image_key_of(hashlib.sha256(photo(2)).hexdigest()))
    for name, way in (("a", ()), ("b", served)):
        answer = run("feedback", reviewed, "--out", tmp_path / name, *way)
        assert (answer.exit_code, "object_not_found" in answer.stderr) == (1, True), answer.output
        assert len(read_photos(tmp_path / name, "labels.tsv")) == 5


def test_what_cannot_be_is_reported(drinks: str, served: tuple[str, str]) -> None:
    assert run("feedback", drinks).stdout == "0 right, 0 wrong, 0 ignore\n"
    for way in ((), served):
        assert "no gallery 'nothing'" in run("feedback", "nothing", *way).stderr
    assert run("feedback", drinks, "--holdout").exit_code == 2

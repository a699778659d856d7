"""`shitu gallery lint`: the store and a service say the same; errors make the exit status, commands mend."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.store import ObjectStore, image_digest
from infra.runtime.settings import Settings
from models.detector import Detection
from models.recognition.several_objects import separate_objects
from models.synth.designs import design_product
from models.synth.products import packshot
from tests.infra.galleries.lint_cases import Pictures, clean, near, view
from tests.linting import linting
from tests.shitu.cli.test_galleries import EMBEDDER, objects, report, run, served, store

__all__ = ["objects", "served", "store"]  # fixtures

Way = tuple[str, ...]


@pytest.fixture(autouse=True)
def worker(settings: Settings) -> Iterator[None]:
    """Lints what is requested from the service."""
    with linting(settings):
        yield


@pytest.fixture(params=["store", "service"])
def way(request: pytest.FixtureRequest, served: tuple[str, str]) -> Way:
    return served if request.param == "service" else ()


def fill(store: GalleryStore, made: Pictures) -> None:
    store.create("shelf")
    store.add("shelf", made.items, made.embeddings, EMBEDDER)


def test_findings_are_reported_with_their_fixes_and_errors_fail(store: GalleryStore, way: Way) -> None:
    made = clean()
    wrong = made.add("tea", view(0, 9))
    made.add("juice", view(9, 0))
    fill(store, made)
    answer = run("lint", "shelf", *way)
    assert answer.exit_code == 1, answer.output
    assert "error mislabelled: A picture of 'tea' looks much more like 'cola'" in answer.stdout
    assert "info few_pictures: 'juice' has one picture." in answer.stdout
    assert "1 error, 0 warning, 1 info; version 2 of 'shelf' has 14" in answer.stdout
    (command,) = [line.strip() for line in answer.stdout.splitlines() if wrong.id in line and "rename" in line]
    words = shlex.split(command)
    assert words[:2] == ["shitu", "gallery"]
    assert run(*words[2:]).exit_code == 0
    answer = run("lint", "shelf", "--level", "warning", *way)
    assert (answer.exit_code, "juice" in answer.stdout) == (0, False), answer.output


def test_the_store_and_a_service_say_the_same(store: GalleryStore, served: tuple[str, str]) -> None:
    made = clean()
    made.add("milk", view(40, 1))
    made.add("tea", near(made.rows[4], 0.99))
    fill(store, made)
    here = report("lint", "shelf")
    assert here == report("lint", "shelf", *served)
    assert here["kinds"] == {"outlier": 1, "near_duplicate": 1}
    assert report("lint", "shelf", "--version", 1)["findings"] == []
    only = report("lint", "shelf", "--level", "warning")
    assert ([one["kind"] for one in only["findings"]], only["kinds"]) == (["outlier"], here["kinds"])


def test_pictures_with_several_objects_are_found_if_requested(
    store: GalleryStore, objects: ObjectStore, way: Way
) -> None:
    one, other = (packshot(design_product(seed), 200) for seed in (1, 2))
    both = np.concatenate([one, other], axis=1)
    pictures = [(one, None), (both, None), (both, (0, 0, 200, 200))]
    items = []
    for number, (picture, box) in enumerate(pictures):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        sha256 = image_digest(buffer.getvalue())
        label = f"can {number}"
        items.append(
            Item(
                item_id(sha256, label, box),
                label,
                objects.put_image(buffer.getvalue()),
                sha256,
                box,
                "2026-01-01T00:00:00Z",
            )
        )
    lost = item_id("0" * 64, "lost")
    items.append(Item(lost, "lost", f"images/00/{'0' * 64}", "0" * 64, None, "2026-01-01T00:00:00Z"))
    store.create("shelf", EMBEDDER)
    store.add("shelf", items, np.eye(4, 8, dtype=np.float32), EMBEDDER)
    assert [skipped["kind"] for skipped in report("lint", "shelf", *way)["skipped"]] == ["several_objects"]
    here = ("--detector", "shitu-detector")
    answer = run("lint", "shelf", "--objects", *here, "--level", "warning", *way)
    assert answer.exit_code == 1  # a picture is not there
    assert lost in answer.stderr
    assert "warning several_objects: A picture of 'can 1' shows 2 objects" in answer.stdout
    assert answer.stdout.count("several_objects") == 1
    by_worker = run("lint", "shelf", "--objects", "--level", "warning", *way)
    assert "warning several_objects: A picture of 'can 1' shows 2 objects" in by_worker.stdout
    assert ("1 pictures are not there" in by_worker.stdout) == bool(way)


def test_objects_count_that_are_certain_large_and_apart() -> None:
    left, right = Detection((0, 0, 50, 100), 0.9), Detection((50, 0, 100, 100), 0.8)
    pixels = 100 * 100
    assert separate_objects([right, left], pixels) == [left, right]
    assert separate_objects([left, Detection((50, 0, 100, 100), 0.5)], pixels) == [left]
    assert separate_objects([left, Detection((60, 0, 80, 40), 0.9)], pixels) == [left]
    assert separate_objects([left, Detection((10, 10, 60, 90), 0.8)], pixels) == [left]


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("shelf", "--detector", "shitu-detector"), 2, "--detector goes with --objects"),
        (("shelf", "--objects", "--detector", "none"), 2, "--objects needs a detector"),
        (("shelf", "--level", "bad"), 2, "--level"),
        (("shelves",), 1, "no gallery 'shelves'"),
        (("shelf", "--version", "9"), 1, "gallery_version_not_found"),
    ],
)
def test_what_cannot_be_is_reported(
    store: GalleryStore, way: Way, words: tuple[str, ...], status: int, why: str
) -> None:
    fill(store, clean())
    answer = run("lint", *words, *way)
    assert (answer.exit_code, why in answer.stderr) == (status, True), answer.output

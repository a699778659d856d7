"""`shitu gallery list | show | versions | activate | delete`: on the store, and through a service."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore, image_digest
from infra.runtime.settings import Settings
from shitu.cli.main import main
from tests.shitu.front_end import listening
from web.app import create_app

EMBEDDER = "a" * 64
LABELS = ["cola", "green tea", "green tea", "milk"]


def run(*arguments: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["gallery", *map(str, arguments)], input=stdin)


def report(*arguments: object) -> Any:
    answer = run(*arguments, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


@pytest.fixture
def objects(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store of the environment that commands are run in; its Redis keeps the lock."""
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    return open_store(settings.objects, settings.data_dir)


@pytest.fixture
def store(objects: ObjectStore) -> GalleryStore:
    return GalleryStore(objects)


@pytest.fixture
def drinks(store: GalleryStore, objects: ObjectStore) -> str:
    """Version 3 of a gallery: three items added, then one more."""
    store.create("drinks", EMBEDDER)
    fill(store, objects, range(3))
    fill(store, objects, range(3, 4), {"kind": "odds", "queries": 4})
    return "drinks"


def fill(store: GalleryStore, objects: ObjectStore, rows: range, calibration: dict[str, Any] | None = None) -> None:
    items, features = [], []
    for row in rows:
        buffer = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 60 * row, np.uint8)).save(buffer, "PNG")
        sha256 = image_digest(buffer.getvalue())
        box = (1, 2, 30, 31) if row == 2 else None
        key = objects.put_image(buffer.getvalue())
        items.append(Item(item_id(sha256, LABELS[row], box), LABELS[row], key, sha256, box, "2026-01-01T00:00:00Z"))
        features.append(b"packed" * row)
    vectors = np.eye(4, 8, dtype=np.float32)[list(rows)]
    fitted = None if calibration is None else lambda *_: calibration
    store.add("drinks", items, vectors, EMBEDDER, np.roll(vectors, 1, axis=1), features, fitted)


@pytest.fixture
def served(settings: Settings, objects: ObjectStore) -> Iterator[tuple[str, str]]:
    """`--server` and the address of the front end on that store, as a running service."""
    with listening(create_app(settings)) as url:
        yield "--server", url


def test_the_store_and_a_service_say_the_same(drinks: str, served: tuple[str, str]) -> None:
    listed = report("list")
    assert listed == report("list", *served)
    assert [(one["name"], one["version"], one["item_count"], one["dim"]) for one in listed] == [("drinks", 3, 4, 8)]
    shown = report("show", drinks, "--items")
    assert shown == report("show", drinks, "--items", *served)
    assert shown["labels"] == {"cola": 1, "green tea": 2, "milk": 1}
    assert [item["box"] for item in shown["items"]] == [None, None, [1, 2, 30, 31], None]
    before = report("show", drinks, "--version", 2)
    assert before == report("show", drinks, "--version", 2, *served)
    assert before["labels"] == {"cola": 1, "green tea": 2}
    one = report("show", drinks, "--label", "milk", "--items")
    assert one == report("show", drinks, "--label", "milk", "--items", *served)
    assert [item["label"] for item in one["items"]] == ["milk"]
    versions = report("versions", drinks)
    assert versions == report("versions", drinks, *served)
    assert [(one["version"], one["current"]) for one in versions] == [(1, False), (2, False), (3, True)]


def test_staged_versions_are_marked_and_listed_alone(drinks: str, store: GalleryStore, served: tuple[str, str]) -> None:
    (first, *_) = store.items(drinks)
    new = dataclasses.replace(first, id=item_id(first.sha256, "water"), label="water")
    store.add(drinks, [new], np.eye(1, 8, dtype=np.float32), EMBEDDER, activate=False)
    listed = report("versions", drinks, "--staged")
    assert listed == report("versions", drinks, "--staged", *served)
    assert [(one["version"], one["current"], one["staged"]) for one in listed] == [(4, False, True)]
    assert [line for line in run("versions", drinks).stdout.splitlines() if "staged" in line]
    assert run("activate", drinks, 4).exit_code == 0
    assert report("versions", drinks, "--staged") == []


def test_tables_show_names_labels_and_items(drinks: str) -> None:
    assert "drinks" in run("list").stdout
    shown = run("show", drinks).stdout
    assert [line.split("│")[2].strip() for line in shown.splitlines() if "green tea" in line] == ["2"]
    assert run("show", drinks, "--items").stdout.count("itm_") == 4
    assert "current" in run("versions", drinks).stdout


@pytest.mark.parametrize("through_service", [False, True])
def test_a_version_is_gone_back_to(
    drinks: str, store: GalleryStore, served: tuple[str, str], through_service: bool
) -> None:
    way = served if through_service else ()
    answer = run("activate", drinks, 2, *way)
    assert (answer.exit_code, answer.stdout) == (0, "version 2 of 'drinks' is in force; it has 3\n")
    assert store.manifest(drinks).version == 2
    answer = run("activate", drinks, 9, *way)
    assert (answer.exit_code, "gallery_version_not_found" in answer.stderr) == (1, True)


@pytest.mark.parametrize("through_service", [False, True])
def test_a_gallery_is_deleted_when_it_is_meant(
    drinks: str, store: GalleryStore, served: tuple[str, str], through_service: bool
) -> None:
    way = served if through_service else ()
    answer = run("delete", drinks, *way)  # nobody is there to confirm
    assert (answer.exit_code, "--yes" in answer.stderr, store.names()) == (2, True, ("drinks",))
    answer = run("delete", drinks, "--yes", *way)
    assert (answer.exit_code, answer.stdout, store.names()) == (0, "'drinks' is deleted\n", ())
    answer = run("delete", drinks, "--yes", *way)
    assert (answer.exit_code, "gallery_not_found" in answer.stderr) == (1, True)


@pytest.mark.parametrize("through_service", [False, True], ids=["store", "service"])
def test_a_deleted_gallery_is_restored(
    drinks: str, store: GalleryStore, served: tuple[str, str], through_service: bool
) -> None:
    way = served if through_service else ()
    version = store.manifest(drinks).version
    run("delete", drinks, "--yes", *way)
    (report,) = json.loads(run("list", "--deleted", "--json", *way).stdout)
    assert (report["name"], report["item_count"]) == (drinks, 4)
    assert report["purge_at"] > report["deleted_at"]
    assert report["generation"] in run("list", "--deleted", *way).stdout
    answer = run("restore", drinks, "--generation", report["generation"], *way)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"'drinks' is restored; version {version} has 4\n"
    assert store.manifest(drinks).version == version
    answer = run("restore", "others", *way)
    assert (answer.exit_code, "gallery_not_found" in answer.stderr) == (1, True)


@pytest.mark.parametrize("through_service", [False, True], ids=["store", "service"])
def test_items_and_a_gallery_are_erased(
    drinks: str, store: GalleryStore, served: tuple[str, str], through_service: bool
) -> None:
    way = served if through_service else ()
    items = store.items(drinks)
    for words in ((), ("--whole", "--label", "x")):
        answer = run("erase", drinks, *words, "--yes", *way)
        assert (answer.exit_code, "name what to erase" in answer.stderr) == (2, True)
    answer = run("erase", drinks, "--whole", *way)  # nobody is there to confirm
    assert (answer.exit_code, "--yes" in answer.stderr, store.names()) == (2, True, (drinks,))
    answer = run("erase", drinks, "--item", items[0].id, "--yes", "--json", *way)
    assert answer.exit_code == 0, answer.output
    (report,) = json.loads(answer.stdout)
    assert (report["item_ids"], report["vectors"], report["status"]) == (
        [items[0].id],
        1,
        "pending",
    )  # it was stored just now
    assert report["pictures"]["pending"] == [items[0].sha256]
    answer = run("erase", drinks, "--label", items[1].label, "--yes", *way)
    assert "vectors erased; pictures: 0 erased" in answer.stdout, answer.output
    answer = run("erase", drinks, "--item", items[0].id, "--yes", *way)
    assert (answer.exit_code, "item_not_found" in answer.stderr) == (1, True)
    answer = run("erase", drinks, "--whole", "--yes", *way)
    assert (answer.exit_code, store.names()) == (0, ())
    answer = run("restore", drinks, *way)
    assert (answer.exit_code, "gallery_not_found" in answer.stderr) == (1, True)


def audited(*words: object) -> list[dict[str, Any]]:
    """The audit's lines of a command."""
    answer = run(*words)
    assert answer.exit_code == 0, answer.output
    return [json.loads(line) for line in answer.stderr.splitlines() if "gallery changed" in line]


def test_changes_leave_their_audit_line_and_reading_none(drinks: str, tmp_path: Path) -> None:
    bundle = tmp_path / "b.zip"
    for words in (("list",), ("show", drinks), ("versions", drinks), ("export", drinks, "--out", bundle)):
        assert audited(*words) == []
    for words, changes in (
        (("activate", drinks, 2), ["activated"]),
        (("delete", drinks, "--yes"), ["deleted"]),
        (("import", bundle), ["created", "added"]),
    ):
        lines = audited(*words)
        assert [line["change"] for line in lines] == changes
        assert all(line["who"].startswith("user ") and line["gallery"] == drinks for line in lines)


def test_a_mistyped_gallery_is_answered_with_one_that_is_there(drinks: str) -> None:
    for words in (("show", "drnks"), ("versions", "drnks"), ("activate", "drnks", 1), ("export", "drnks")):
        answer = run(*words)
        assert answer.exit_code == 1
        assert "There is no gallery 'drnks'. Did you mean 'drinks'? `shitu gallery list` lists" in answer.stderr
        assert "`shitu gallery add` makes one. (gallery_not_found)" in answer.stderr

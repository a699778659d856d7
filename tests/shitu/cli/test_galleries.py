"""`shitu gallery list | show | versions | activate | delete | export | import`: on the store, and through a service."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from werkzeug.serving import make_server

from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore, image_digest
from infra.runtime.settings import Settings, load_settings
from shitu.cli.main import main
from web.app import create_app

EMBEDDER = "a" * 64
LABELS = ["cola", "green tea", "green tea", "milk"]


def run(*arguments: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["gallery", *map(str, arguments)], input=stdin)


def told(*arguments: object) -> Any:
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
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield "--server", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_the_store_and_a_service_say_the_same(drinks: str, served: tuple[str, str]) -> None:
    listed = told("list")
    assert listed == told("list", *served)
    assert [(one["name"], one["version"], one["item_count"], one["dim"]) for one in listed] == [("drinks", 3, 4, 8)]
    shown = told("show", drinks, "--items")
    assert shown == told("show", drinks, "--items", *served)
    assert shown["labels"] == {"cola": 1, "green tea": 2, "milk": 1}
    assert [item["box"] for item in shown["items"]] == [None, None, [1, 2, 30, 31], None]
    before = told("show", drinks, "--version", 2)
    assert before == told("show", drinks, "--version", 2, *served)
    assert before["labels"] == {"cola": 1, "green tea": 2}
    one = told("show", drinks, "--label", "milk", "--items")
    assert one == told("show", drinks, "--label", "milk", "--items", *served)
    assert [item["label"] for item in one["items"]] == ["milk"]
    versions = told("versions", drinks)
    assert versions == told("versions", drinks, *served)
    assert [(one["version"], one["current"]) for one in versions] == [(1, False), (2, False), (3, True)]


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
    answer = run("delete", drinks, *way)  # nobody is there to be asked
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
    (told,) = json.loads(run("list", "--deleted", "--json", *way).stdout)
    assert (told["name"], told["item_count"]) == (drinks, 4)
    assert told["purge_at"] > told["deleted_at"]
    assert told["generation"] in run("list", "--deleted", *way).stdout
    answer = run("restore", drinks, "--generation", told["generation"], *way)
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
    answer = run("erase", drinks, "--whole", *way)  # nobody is there to be asked
    assert (answer.exit_code, "--yes" in answer.stderr, store.names()) == (2, True, (drinks,))
    answer = run("erase", drinks, "--item", items[0].id, "--yes", "--json", *way)
    assert answer.exit_code == 0, answer.output
    (told,) = json.loads(answer.stdout)
    assert (told["item_ids"], told["vectors"], told["status"]) == (
        [items[0].id],
        1,
        "pending",
    )  # it was stored just now
    assert told["pictures"]["pending"] == [items[0].sha256]
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


def exported(name: str, target: Path, *more: object) -> Path:
    answer = run("export", name, "--out", target, *more)
    assert answer.exit_code == 0, answer.output
    return target


def test_a_gallery_comes_back_from_its_file_as_it_was(
    drinks: str, store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = exported(drinks, tmp_path / "new" / "drinks.zip")
    manifest, items, rows = store.load(drinks)
    views, features = store.load_views(drinks), store.load_features(drinks)
    pictures = {
        item.id: open_store(load_settings().objects, load_settings().data_dir).get(item.image_key) for item in items
    }
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "elsewhere"))  # another installation, without a Redis
    monkeypatch.delenv("SHITU_REDIS_URL")
    answer = run("import", bundle)
    assert (answer.exit_code, answer.stdout) == (0, "4 items added to 'drinks'; version 2 has 4\n"), answer.output
    settings = load_settings()
    there = open_store(settings.objects, settings.data_dir)
    other = GalleryStore(there)
    again, items_again, rows_again = other.load(drinks)
    assert items_again == items
    np.testing.assert_array_equal(rows_again, rows)
    np.testing.assert_array_equal(other.load_views(drinks), views)
    assert other.load_features(drinks) == features
    assert (again.embedder_digest, again.calibration) == (manifest.embedder_digest, manifest.calibration)
    assert again.calibration == {"kind": "odds", "queries": 4}
    assert {item.id: there.get(item.image_key) for item in items_again} == pictures
    answer = run("import", bundle)
    assert "0 items added to 'drinks', 4 were there already; version 2 has 4" in answer.stdout
    answer = run("import", bundle, "--gallery", "others")
    assert "4 items added to 'others'" in answer.stdout


def test_an_earlier_version_and_an_empty_gallery_are_exported(drinks: str, store: GalleryStore, tmp_path: Path) -> None:
    assert "others'; version 2 has 3" in run(
        "import", exported(drinks, tmp_path / "two.zip", "--version", 2), "--gallery", "others"
    ).stdout  # fmt: skip
    store.create("nothing")
    answer = run("import", exported("nothing", tmp_path / "none.zip"), "--gallery", "nothing-2")
    assert (answer.exit_code, store.manifest("nothing-2").item_count) == (0, 0)


def test_pictures_that_the_store_lacks_are_reported_and_the_rest_is_whole(
    drinks: str, store: GalleryStore, objects: ObjectStore, tmp_path: Path
) -> None:
    objects.delete(store.items(drinks)[0].image_key)
    answer = run("export", drinks, "--out", tmp_path / "b.zip")
    assert (answer.exit_code, "1 of them have no picture" in answer.stdout) == (0, True)
    assert "4 items added" in run("import", tmp_path / "b.zip", "--gallery", "others").stdout


def rewritten(bundle: Path, change: Callable[[str, bytes], bytes | None], **how: Any) -> Path:
    """The bundle with members changed (None: left out)."""
    target = bundle.with_name("changed.zip")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(target, "w", **how) as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)
    return target


def bad(name: str, data: bytes) -> Callable[[str, bytes], bytes | None]:
    return lambda member, held: data if member.startswith(name) else held


@pytest.mark.parametrize(
    ("change", "how", "reason"),
    [
        (bad("items.jsonl", b"{}\n"), {}, "The items of the gallery 'drinks' are not what its manifest says"),
        (bad("embeddings.npy", b"\x93NUMPY"), {}, "are not what its manifest says"),
        (bad("images/", b"other"), {}, "is not the one that was exported"),
        (bad("manifest.json", b"["), {}, "is no JSON"),
        (bad("manifest.json", b'{"kind": "shitu-gallery", "schema": 9}'), {}, "has the schema 9"),
        (bad("manifest.json", b'{"kind": "shitu-gallery", "schema": 1}'), {}, "lacks something"),
        (lambda name, data: None if name == "embeddings.npy" else data, {}, "has no embeddings.npy"),
        (lambda name, data: None if name == "manifest.json" else data, {}, "has no manifest"),
        (lambda _, data: data, {"compression": zipfile.ZIP_DEFLATED}, "are compressed"),
    ],
)
def test_a_file_that_was_changed_is_refused_whole(
    change: Callable[[str, bytes], bytes | None], how: dict[str, Any], reason: str,
    drinks: str, store: GalleryStore, tmp_path: Path,
) -> None:  # fmt: skip
    changed = rewritten(exported(drinks, tmp_path / "b.zip"), change, **how)
    answer = run("import", changed, "--gallery", "others")
    assert answer.exit_code == 1
    assert reason in answer.stderr
    assert "Traceback" not in answer.output
    assert store.names() == ("drinks",)


def test_what_is_no_bundle_and_half_of_one_are_refused(drinks: str, store: GalleryStore, tmp_path: Path) -> None:
    whole = exported(drinks, tmp_path / "b.zip").read_bytes()
    for data in (b"", b"no zip", whole[: len(whole) // 2], whole[:-9]):
        (tmp_path / "half.zip").write_bytes(data)
        answer = run("import", tmp_path / "half.zip", "--gallery", "others")
        assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1), answer.output
    assert store.names() == ("drinks",)


def test_a_gallery_of_another_embedder_takes_nothing(drinks: str, store: GalleryStore, tmp_path: Path) -> None:
    store.create("others", "b" * 64)
    answer = run("import", exported(drinks, tmp_path / "b.zip"), "--gallery", "others")
    assert (answer.exit_code, "embedder_mismatch" in answer.stderr) == (1, True)
    assert store.manifest("others").item_count == 0


def test_a_file_that_is_there_stays_where_exporting_fails(
    drinks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.zip").write_bytes(b"mine")
    monkeypatch.setattr(GalleryStore, "load_views", lambda *_: (_ for _ in ()).throw(OSError(5, "broken", "disk")))
    assert run("export", drinks, "--out", tmp_path / "b.zip").exit_code == 1
    assert (tmp_path / "b.zip").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_gallery_is_exported_as_paddleclas_has_it(drinks: str, store: GalleryStore, tmp_path: Path) -> None:
    import pickle

    import faiss

    for method in ("Flat", "IVF", "HNSW32"):
        theirs = tmp_path / method
        answer = run("export", drinks, "--format", "paddleclas", "--index-method", method, "--out", theirs)
        assert answer.exit_code == 0, answer.output
        assert "4 items of version 3 of 'drinks' are in" in answer.stdout
        assert "1 labels have blanks" in answer.stderr
        _, items, embeddings = store.load(drinks)
        index = faiss.read_index(str(theirs / "index" / "vector.index"))  # as their code reads them
        id_map = pickle.loads((theirs / "index" / "id_map.pkl").read_bytes())
        scores, ids = index.search(embeddings, 1)
        found = [id_map[int(one)].split("\t")[1] for one in ids[:, 0]]
        assert found == [item.label for item in items]
        assert scores[:, 0] == pytest.approx(1, abs=1e-4)
        lines = (theirs / "gallery" / "gallery_label.txt").read_text(encoding="utf-8").splitlines()
        assert sorted(line.split("\t")[1] for line in lines) == sorted(LABELS)
        assert all((theirs / "gallery" / line.split("\t")[0]).is_file() for line in lines)

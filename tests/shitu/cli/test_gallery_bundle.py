"""`shitu gallery export | import`: a gallery becomes one file, and comes back from it as it was."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore
from infra.runtime.settings import load_settings
from tests.shitu.cli.test_galleries import LABELS, drinks, objects, run, store

__all__ = ["drinks", "objects", "store"]  # the fixtures


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


def read_flat(path: Path) -> tuple[dict[str, str], np.ndarray, list[str]]:
    """As docs/cpp.md describes the layout: header, rows, labels."""
    header, _, rest = path.read_bytes().partition(b"\n\n")
    about = dict(line.split(" ", 1) for line in header.decode().splitlines())
    count, dim = int(about["items"]), int(about["dim"])
    rows = np.frombuffer(rest[: 4 * count * dim], "<f4").reshape(count, dim)
    labels = rest[4 * count * dim :].decode()
    assert labels.endswith("\n") or not count
    return about, rows, labels.split("\n")[:-1]


def test_a_flat_file_has_the_rows_and_the_labels(drinks: str, store: GalleryStore, tmp_path: Path) -> None:
    target = exported(drinks, tmp_path / "new" / "drinks.flat", "--format", "flat")
    manifest, items, rows = store.load(drinks)
    about, read, labels = read_flat(target)
    assert about == {
        "shitu-flat": "1", "gallery": "drinks", "version": "3", "embedder": manifest.embedder_digest,
        "dim": "8", "items": "4",
    }  # fmt: skip
    np.testing.assert_array_equal(read, rows)
    assert labels == [item.label for item in items] == LABELS
    earlier = exported(drinks, tmp_path / "two.flat", "--format", "flat", "--version", 2)
    assert read_flat(earlier)[0]["items"] == "3"
    store.create("nothing")
    about, read, labels = read_flat(exported("nothing", tmp_path / "none.flat", "--format", "flat"))
    assert (about["items"], len(read), labels) == ("0", 0, [])
    assert {path.name for path in tmp_path.glob("*flat*")} == {"two.flat", "none.flat"}  # no half of one


def test_a_flat_file_that_cannot_be_written_leaves_the_old_one(
    drinks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = exported(drinks, tmp_path / "drinks.flat", "--format", "flat")
    before = target.read_bytes()

    def full(file: Any, *_: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("infra.galleries.flat.write", full)
    answer = run("export", drinks, "--format", "flat", "--out", target)
    assert answer.exit_code == 1
    assert "No space left" in answer.stderr
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*drinks.flat*")] == ["drinks.flat"]


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

"""Large galleries as a worker searches them: real files, real indexes."""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.indexes import IndexChoice
from infra.galleries.files import read_items
from infra.galleries.indexes import described
from infra.galleries.keys import index_keys
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.gallery import Gallery
from models.galleries.parted import PartedGallery
from tests.infra.gallery_items import Remote
from tests.worker.large import add, build, made_items, make_small_ones_large
from worker.gallery_cache import GalleryCache
from worker.gallery_parts import ITEM_LINE_BYTES


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GalleryStore:
    make_small_ones_large(monkeypatch)
    monkeypatch.setattr("worker.gallery_cache.LOOKED_AFTER_S", 0.0)
    store = GalleryStore(LocalStore(tmp_path / "objects"))
    store.create("drinks", "d" * 64)
    return store


@pytest.fixture
def cache(store: GalleryStore, tmp_path: Path) -> GalleryCache:
    return GalleryCache(store, 1 << 30, folder=tmp_path / "cache")


def parts(cache: GalleryCache) -> PartedGallery:
    found = cache.current("drinks").gallery
    assert isinstance(found, PartedGallery)
    return found


def test_a_small_gallery_is_whole(store: GalleryStore, cache: GalleryCache, tmp_path: Path) -> None:
    add(store, "drinks", 99)
    assert type(cache.current("drinks").gallery) is Gallery
    assert build(store, "drinks", tmp_path) == 0
    report = described(store, store.manifest("drinks"))
    assert (report["in_use"], report["state"], report["recall_at_1"]) == ("Flat", "exact", 1.0)


def test_exact_search_serves_until_the_index_is_there(store: GalleryStore, cache: GalleryCache, tmp_path: Path) -> None:
    items, rows = add(store, "drinks", 1200)
    assert described(store, store.manifest("drinks"))["state"] == "building"
    assert parts(cache).parts[0].index is None
    assert parts(cache).search(rows[7:8], 1)[0][0].item == items[7]
    assert build(store, "drinks", tmp_path) == 1
    assert build(store, "drinks", tmp_path) == 0
    assert parts(cache).parts[0].index is not None  # without any change of the gallery
    assert parts(cache).search(rows[7:8], 1)[0][0].item == items[7]
    report = described(store, store.manifest("drinks"))
    assert (report["state"], report["in_use"], report["indexed_items"]) == ("built", "PQ4x4fs,RFlat", 1200)
    assert report["recall_at_1"] is not None
    assert report["recall_at_1"] > 0.9


def test_what_is_added_is_found_and_what_is_removed_is_not_at_once(
    store: GalleryStore, cache: GalleryCache, tmp_path: Path
) -> None:
    items, rows = add(store, "drinks", 1200)
    build(store, "drinks", tmp_path)
    first = parts(cache)
    more, more_rows = add(store, "drinks", 3, start=5000)
    second = parts(cache)
    assert second.parts[0].labelled is first.parts[0].labelled  # nothing of it was read again
    assert second.search(more_rows, 1)[1][0].item == more[1]
    store.remove("drinks", item_ids=[items[7].id, more[1].id])
    third = parts(cache)
    assert len(third) == 1201
    assert third.parts[0].index is not None
    found = {match.item.id for matches in third.search(np.stack([rows[7], more_rows[1]]), 50) for match in matches}
    assert not {items[7].id, more[1].id} & found
    store.undo("drinks")
    assert parts(cache).search(rows[7:8], 1)[0][0].item == items[7]


def test_the_rows_are_the_files_own_not_a_copy(store: GalleryStore, cache: GalleryCache) -> None:
    add(store, "drinks", 1200)
    rows = parts(cache).parts[0].labelled.rows
    under = rows
    while isinstance(under.base, np.ndarray):
        under = under.base
    assert isinstance(under.base, mmap.mmap)
    assert cache.current("drinks").size_bytes == ITEM_LINE_BYTES * 1200


def test_of_a_large_file_only_the_items_of_answers_are_made(
    store: GalleryStore, cache: GalleryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, rows = add(store, "drinks", 1200)
    store.remove("drinks", item_ids=[items[5].id])
    parsed: list[int] = []
    monkeypatch.setattr("infra.galleries.lines.read_items", lambda line: (parsed.append(1), read_items(line))[1])
    gallery = parts(cache)
    opening = len(parsed)
    (found,) = gallery.search_labels(rows[7:8], 5)
    assert found.matches[0].item == items[7]
    assert found.labels[0].label == items[7].label
    assert len(parsed) == opening + 5
    assert gallery.find(items[9].id) == items[9]
    assert gallery.find(items[5].id) is None
    assert len(parsed) == opening + 6


def test_filters_on_metadata_find_what_they_find_of_all_items(
    store: GalleryStore, cache: GalleryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, rows = made_items(1200)
    items = [
        replace(one, metadata={"shelf": str(at % 7), "size": "l"} if at % 2 else {}) for at, one in enumerate(items)
    ]
    store.add("drinks", items, rows, "d" * 64)
    gone = [items[at] for at in (3, 17, 500)]
    store.remove("drinks", item_ids=[one.id for one in gone])
    for filters in ([("shelf", "3")], [("shelf", "3"), ("size", "l")], [("shelf", "9")], [("size", "l")]):
        left = [at for at, one in enumerate(items) if set(filters) <= set(one.metadata.items()) and one not in gone]
        found = parts(cache).filtered(filters)
        assert [one.id for one in found.items] == [items[at].id for at in left]
        for at in left[:3]:
            assert found.search(rows[at : at + 1], 1)[0][0].item == items[at]
    monkeypatch.setattr("models.galleries.parted.MOST_HELD", 10)
    large = parts(cache)._filtered([("size", "l")])
    assert isinstance(large, PartedGallery)
    assert [one.id for one in large.items] == [one.id for one in items if one.metadata and one not in gone]
    assert list(large._filtered([("shelf", "1")]).items) == [
        one for one in items if one.metadata.get("shelf") == "1" and one not in gone
    ]


def test_of_a_bucket_the_rows_are_mapped_from_files_kept_by_content(
    store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, rows = add(store, "drinks", 1200)
    build(store, "drinks", tmp_path)
    assert isinstance(store.objects, LocalStore)
    bucket = Remote(store.objects)
    remote = GalleryStore(bucket)
    folder = tmp_path / "cache"
    cache = GalleryCache(remote, 1 << 30, folder=folder)
    assert parts(cache).search(rows[7:8], 1)[0][0].item == items[7]
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 3  # items, rows and index
    requested: list[str] = []
    real = bucket.get
    monkeypatch.setattr(bucket, "get", lambda key: (requested.append(key), real(key))[1])
    parts(GalleryCache(remote, 1 << 30, folder=folder))
    assert not [key for key in requested if key.endswith((".jsonl", ".npy", ".faiss"))]
    old = folder / ("0" * 64)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    (folder / kept[0]).unlink()
    parts(GalleryCache(remote, 1 << 30, folder=folder))
    assert sorted(path.name for path in folder.iterdir()) == kept


@pytest.mark.parametrize("damage", [b"", b"nonsense"])
def test_a_damaged_index_is_searched_without_and_built_again(
    damage: bytes, store: GalleryStore, cache: GalleryCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items, rows = add(store, "drinks", 1200)
    build(store, "drinks", tmp_path)
    manifest = store.manifest("drinks")
    key = index_keys("drinks", manifest.generation, manifest.segments[0].id, "PQ")[0]
    store.objects.put(key, damage)
    assert parts(cache).search(rows[7:8], 1)[0][0].item == items[7]
    assert "built again" in caplog.text
    assert build(store, "drinks", tmp_path) == 1
    assert parts(cache).parts[0].index is not None


def test_an_index_without_its_record_is_nothing(store: GalleryStore, cache: GalleryCache, tmp_path: Path) -> None:
    """As after a builder that was killed between the two writes."""
    add(store, "drinks", 1200)
    build(store, "drinks", tmp_path)
    manifest = store.manifest("drinks")
    record = index_keys("drinks", manifest.generation, manifest.segments[0].id, "PQ")[1]
    report = json.loads(store.objects.get(record))
    store.objects.delete(record)
    assert parts(cache).parts[0].index is None
    assert build(store, "drinks", tmp_path) == 1
    assert json.loads(store.objects.get(record))["sha256"] == report["sha256"]


def test_files_of_indexes_go_with_their_segments(store: GalleryStore, tmp_path: Path) -> None:
    add(store, "drinks", 1200)
    build(store, "drinks", tmp_path)

    def indexes() -> list[str]:
        return [key for key in store.objects.list("galleries/files/") if key.endswith(".faiss")]

    assert len(indexes()) == 1
    store.delete("drinks")
    assert len(indexes()) == 1  # it may be restored
    store.create("drinks", "d" * 64)
    for number in range(20):
        add(store, "drinks", 110, start=200 * number)
        build(store, "drinks", tmp_path)
    kept = {one.id for version in store.versions("drinks") for one in store.manifest("drinks", version).segments}
    generation = store.manifest("drinks").generation
    assert {key.split("/")[5].split(".")[0] for key in indexes() if f"/{generation}/" in key} <= kept


def test_a_gallery_deleted_while_its_index_was_built_keeps_nothing_of_it(
    store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "drinks", 1200)
    from worker import index_builder

    real = index_builder.build
    monkeypatch.setattr(index_builder, "build", lambda *given: (store.delete("drinks"), real(*given))[1])
    build(store, "drinks", tmp_path)
    assert not [key for key in store.objects.list("galleries/files/") if ".pq." in key]


def test_a_choice_is_a_version_and_is_searched_so(store: GalleryStore, cache: GalleryCache, tmp_path: Path) -> None:
    items, rows = add(store, "drinks", 1200)
    for method in ("HNSW32", "IVF"):
        store.choose_index("drinks", IndexChoice(method).to_dict())  # type: ignore[arg-type]  # both are methods
        assert parts(cache).parts[0].index is None
        assert build(store, "drinks", tmp_path) == 1
        assert parts(cache).search(rows[7:8], 1)[0][0].item == items[7]
        assert described(store, store.manifest("drinks"))["in_use"].startswith(method)
    before = store.manifest("drinks").version
    assert store.choose_index("drinks", IndexChoice("IVF").to_dict()).version == before
    store.choose_index("drinks", IndexChoice("Flat").to_dict())
    assert build(store, "drinks", tmp_path) == 0
    assert parts(cache).parts[0].index is None
    assert store.undo("drinks").index == IndexChoice("IVF").to_dict()
    assert add(store, "drinks", 1, start=9000)
    assert store.manifest("drinks").index == IndexChoice("IVF").to_dict()  # an addition keeps it


@pytest.mark.parametrize("rerank", [0, 50])
def test_hamming_search_is_a_choice(rerank: int, store: GalleryStore, cache: GalleryCache) -> None:
    items, rows = add(store, "drinks", 1200)
    store.choose_index("drinks", IndexChoice("HNSW32", "hamming", rerank).to_dict())
    found = cache.current("drinks").gallery
    assert isinstance(found, BinaryGallery)
    assert (found.rerank, found.calibratable) == (rerank, bool(rerank))
    assert items[7] in [match.item for match in found.search(rows[7:8], 5)[0]]
    store.remove("drinks", item_ids=[items[7].id])
    again = cache.current("drinks").gallery
    assert items[7].id not in {match.item.id for match in again.search(rows[7:8], 50)[0]}
    report = described(store, store.manifest("drinks"))
    assert report["in_use"] == ("BHNSW32,R50" if rerank else "BHNSW32")
    assert report["rerank"] == rerank


@pytest.mark.parametrize("rerank", [0, 50])
def test_binary_codes_of_a_large_file_need_no_items_either(
    rerank: int, store: GalleryStore, cache: GalleryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, rows = made_items(1200)
    items = [replace(one, metadata={"shelf": str(at % 7)}) for at, one in enumerate(items)]
    store.add("drinks", items, rows, "d" * 64)
    store.remove("drinks", item_ids=[items[3].id])
    store.choose_index("drinks", IndexChoice("Flat", "hamming", rerank).to_dict())
    parsed: list[int] = []
    monkeypatch.setattr("infra.galleries.lines.read_items", lambda line: (parsed.append(1), read_items(line))[1])
    cached = cache.current("drinks")
    assert isinstance(cached.gallery, BinaryGallery)
    assert cached.size_bytes < 2 * rows.nbytes + 100 * 1200
    assert items[8] in [match.item for match in cached.gallery.search(rows[8:9], 20)[0]]
    third = cached.gallery.filtered([("shelf", "3")])
    assert len(parsed) < 300
    assert [one.id for one in third.items] == [one.id for one in items[10::7]]


def test_galleries_joined_take_a_new_index_up(store: GalleryStore, cache: GalleryCache, tmp_path: Path) -> None:
    add(store, "drinks", 1200)
    store.create("snacks", "d" * 64)
    add(store, "snacks", 5, start=7000)

    def joined() -> object:
        return cache.joined([cache.current("drinks"), cache.current("snacks")]).gallery

    before = joined()
    assert joined() is before
    build(store, "drinks", tmp_path)
    assert joined() is not before

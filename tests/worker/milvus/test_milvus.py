"""What only galleries in Milvus meet: a server that is away, rows that have gone, fillers that die, and what is tidied."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.indexes import IndexChoice
from infra.errors.galleries import MilvusNotConfigured, MilvusUnavailable
from infra.errors.service import ConfigurationError
from infra.galleries import milvus_records
from infra.galleries.indexes import described
from infra.galleries.milvus import PAUSE_S, MilvusServer, open_milvus
from infra.galleries.milvus_records import CUT, LINE_BYTES, begun_s, new_partition
from infra.galleries.milvus_tidy import look_after, tidy
from infra.galleries.segments import SegmentFiles
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from infra.runtime.settings import MilvusSettings, Settings
from models.errors import GalleryError
from models.galleries.gallery import Gallery
from models.galleries.sourced_gallery import SourcedGallery
from tests.milvus_server import MilvusLite
from tests.worker.large import DIM, add, build, made_items, make_small_ones_large
from tests.worker.milvus.conftest import MILVUS, collection_of
from worker.gallery_cache import GalleryCache
from worker.index_builder import build_missing, missing
from worker.index_keeper import IndexKeeper
from worker.milvus_filler import fill


def test_workers_read_none_of_the_files_that_the_server_has(
    store: GalleryStore, cache: GalleryCache, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SegmentFiles, "segment", lambda *_: pytest.fail("a segment's files were read"))
    items, rows = made_items(150)
    cached = cache.current(gallery)
    assert cached.gallery.search(rows[:1], 1)[0][0].item == items[0]
    assert cached.size_bytes == 0
    assert cached.gallery.embeddings() is None
    with pytest.raises(GalleryError, match="listed"):
        list(cached.gallery.items)


def test_a_key_names_the_row_of_the_file(store: GalleryStore, gallery: str) -> None:
    _, rows = made_items(150)
    assert store.milvus is not None
    collection = collection_of(store, gallery)
    (partition,) = store.milvus.partitions(collection)
    found = store.milvus.search(collection, [partition], rows, 1)
    assert [hits[0].row for hits in found] == list(range(150))
    assert {hits[0].key >> 32 for hits in found} == {int(partition[1:9], 16)}


def test_a_server_that_is_away_is_said_and_is_used_again_when_it_is_back(
    lite: MilvusLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_ones_large(monkeypatch)
    server = open_milvus(MilvusSettings(uri=lite.uri, index_type="FLAT", timeout_s=1))
    store = GalleryStore(LocalStore(tmp_path / "objects"), milvus=server)
    store.create("drinks", "d" * 64, index=MILVUS)
    items, rows = add(store, "drinks", 150)
    build(store, "drinks", tmp_path / "files")
    cache = GalleryCache(store, 1 << 30, folder=tmp_path / "cache")
    found = cache.current("drinks").gallery
    assert found.search(rows[:1], 1)[0][0].item == items[0]
    more, more_rows = made_items(1, 700)
    lite.stop()
    try:
        with pytest.raises(MilvusUnavailable):
            found.search(rows[:1], 1)
        with pytest.raises(MilvusUnavailable):  # it is loaded again, which asks the server
            cache.current("drinks")
        store.add("drinks", more, more_rows, "d" * 64)  # what is kept does not depend on it
    finally:
        lite.start()  # for the other tests too
    until = time.monotonic() + 60
    again = None
    while again is None and time.monotonic() < until:  # a job is tried again for so long, and longer
        with suppress(MilvusUnavailable):
            again = cache.current("drinks").gallery
        time.sleep(0.1)
    assert again is not None
    assert again.search(np.concatenate([rows[:1], more_rows]), 1) == [
        found.search(rows[:1], 1)[0],
        again.search(more_rows, 1)[0],
    ]
    assert again.search(more_rows, 1)[0][0].item == more[0]


def test_rows_that_have_gone_are_noticed_and_come_again(
    store: GalleryStore, cache: GalleryCache, gallery: str, tmp_path: Path
) -> None:
    items, rows = made_items(150)
    found = cache.current(gallery).gallery
    assert store.milvus is not None
    store.milvus.drop(collection_of(store, gallery))  # an operator's mistake, or a lost disk
    with pytest.raises(MilvusUnavailable):
        found.search(rows[:1], 1)
    time.sleep(PAUSE_S)
    local = cache.current(gallery).gallery
    assert not isinstance(local, SourcedGallery)  # from the files, until the server has them again
    assert local.search(rows[:1], 1)[0][0].item == items[0]
    assert described(store, store.manifest(gallery))["state"] == "building"
    assert build(store, gallery, tmp_path / "files") == 1
    assert isinstance(cache.current(gallery).gallery, SourcedGallery)
    assert cache.current(gallery).gallery.search(rows[:1], 1)[0][0].item == items[0]


def test_a_new_version_does_not_count_the_servers_rows_again(
    store: GalleryStore, cache: GalleryCache, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    count = MilvusServer.count

    def noted(self: MilvusServer, collection: str, partitions: list[str], *where: object) -> int:
        counted.extend(partitions)
        return count(self, collection, partitions, *where)  # type: ignore[arg-type]

    monkeypatch.setattr(MilvusServer, "count", noted)
    cache.current(gallery)
    assert len(counted) == 1
    items, rows = made_items(1, 700)
    store.add(gallery, items, rows, "d" * 64)
    assert cache.current(gallery).gallery.search(rows, 1)[0][0].item == items[0]
    assert len(counted) == 1
    monkeypatch.setattr("worker.gallery_parts.COUNTED_FOR_S", 0.0)
    store.remove(gallery, [items[0].id])
    cache.current(gallery)
    assert len(counted) == 2


def test_what_a_filtered_search_misses_is_counted_again(
    store: GalleryStore, cache: GalleryCache, milvus: MilvusServer, tmp_path: Path
) -> None:
    store.create("drinks", "d" * 64, index=MILVUS)
    items, rows = made_items(150)
    store.add("drinks", [replace(one, metadata={"brand": "x"}) for one in items], rows, "d" * 64)
    build(store, "drinks", tmp_path / "files")
    narrow = cache.current("drinks").gallery.filtered([("brand", "x")])
    milvus.drop(collection_of(store, "drinks"))
    with pytest.raises(MilvusUnavailable):
        narrow.search(rows[:1], 1)
    time.sleep(PAUSE_S)
    assert not isinstance(cache.current("drinks").gallery, SourcedGallery)  # the files are searched


def test_a_filler_that_dies_leaves_nothing_that_anybody_reads(
    store: GalleryStore, cache: GalleryCache, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("drinks", "d" * 64, index=MILVUS)
    items, rows = add(store, "drinks", 150)
    with monkeypatch.context() as patch:
        patch.setattr("worker.index_builder.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(store, "drinks", tmp_path / "files")
    collection = collection_of(store, "drinks")
    (left,) = milvus.partitions(collection)
    assert not isinstance(cache.current("drinks").gallery, SourcedGallery)
    assert build(store, "drinks", tmp_path / "files") == 1
    assert len(milvus.partitions(collection)) == 2
    assert cache.current("drinks").gallery.search(rows[:1], 2)[0][0].item == items[0]
    assert len(cache.current("drinks").gallery.search(rows[:1], 400)[0]) == 150
    assert look_after(store, milvus) == 0  # somebody may be at it still
    monkeypatch.setattr("infra.galleries.milvus_tidy.UNFINISHED_S", 0.0)
    assert tidy(store, milvus, "drinks", store._pointer("drinks"), unfinished_s=0) == 1
    assert left not in milvus.partitions(collection)


def test_what_is_erased_while_it_is_filled_does_not_stay(
    store: GalleryStore, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("drinks", "d" * 64, index=MILVUS)
    add(store, "drinks", 150)
    collection = collection_of(store, "drinks")

    def deleted_meanwhile(*about: object) -> object:
        record = fill(*about)  # type: ignore[arg-type]
        store.delete("drinks")
        return record

    monkeypatch.setattr("worker.index_builder.fill", deleted_meanwhile)
    build(store, "drinks", tmp_path / "files")
    assert milvus.partitions(collection) == ()


def test_joined_files_are_filled_and_the_old_partitions_go(
    store: GalleryStore, cache: GalleryCache, milvus: MilvusServer, gallery: str, tmp_path: Path
) -> None:
    collection = collection_of(store, gallery)
    before = milvus.partitions(collection)
    for start in range(1000, 1900, 110):
        add(store, gallery, 110, start)
    build(store, gallery, tmp_path / "files")
    _, items, rows = store.load(gallery)
    assert [hits[0].item.id for hits in cache.current(gallery).gallery.search(rows[::70], 1)] == [
        one.id for one in items[::70]
    ]
    tidy(store, milvus, gallery, store._pointer(gallery), unfinished_s=0)
    named = set(milvus.partitions(collection))
    assert milvus.count(collection, sorted(named)) == sum(
        one.item_count for one in store.manifest(gallery).segments if one.live_count >= 100
    )
    assert before


def test_metadata_that_is_too_long_for_the_server_comes_from_the_files(
    store: GalleryStore, cache: GalleryCache, tmp_path: Path
) -> None:
    store.create("drinks", "d" * 64, index=MILVUS)
    items, rows = made_items(120)
    long = {f"name{at}": "\U0001f600" * 500 for at in range(32)}
    odd = {"half": "\ud800", "brand": "x"}
    items = [replace(items[0], metadata=long), replace(items[1], metadata=odd), *items[2:]]
    store.add("drinks", items, rows, "d" * 64)
    build(store, "drinks", tmp_path / "files")
    found = cache.current("drinks").gallery
    assert isinstance(found, SourcedGallery)
    assert [near[0].item for near in found.search(rows[:3], 1)] == items[:3]
    assert found.find(items[0].id) == items[0]
    narrow = found.filtered([("name7", long["name7"])])
    assert (len(narrow), narrow.search(rows[:1], 5)[0][0].item) == (1, items[0])
    assert len(json.dumps(long)) > LINE_BYTES
    assert CUT not in json.dumps(found.search(rows[:1], 1)[0][0].to_dict())


def test_hundreds_of_removed_neighbours_hide_nothing(
    store: GalleryStore, cache: GalleryCache, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.milvus_rows.SPARE", 1)
    monkeypatch.setattr("worker.milvus_rows.WIDER", 2)
    items, rows = made_items(150)
    order = np.argsort(-(rows @ rows[0]))
    store.remove(gallery, [items[at].id for at in order[:140].tolist()])
    (found,) = cache.current(gallery).gallery.search(rows[:1], 3)
    assert [match.item for match in found] == [items[at] for at in order[140:143].tolist()]


def test_the_servers_own_index_finds_nearly_all(
    lite: MilvusLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_ones_large(monkeypatch)
    store = GalleryStore(LocalStore(tmp_path / "objects"), milvus=open_milvus(MilvusSettings(uri=lite.uri)))
    store.create("drinks", "d" * 64, index=MILVUS)
    add(store, "drinks", 2000)
    build(store, "drinks", tmp_path / "files")
    recall = described(store, store.manifest("drinks"))["recall_at_1"]
    assert recall is not None
    assert 0.9 <= recall <= 1


def test_without_a_server_there_is_none_to_choose(tmp_path: Path) -> None:
    store = GalleryStore(LocalStore(tmp_path / "objects"))
    with pytest.raises(MilvusNotConfigured):
        store.create("drinks", index=MILVUS)
    assert store.names() == ()
    store.create("drinks")
    with pytest.raises(MilvusNotConfigured):
        store.choose_index("drinks", MILVUS)
    assert store.manifest("drinks").index is None
    assert open_milvus(MilvusSettings()) is None


def test_a_server_that_is_configured_no_more_leaves_the_answers(
    store: GalleryStore, gallery: str, tmp_path: Path
) -> None:
    without = GalleryStore(LocalStore(tmp_path / "objects"))
    cache = GalleryCache(without, 1 << 30, folder=tmp_path / "cache")
    items, rows = made_items(150)
    found = cache.current(gallery).gallery
    assert isinstance(found, Gallery)
    assert not isinstance(found, SourcedGallery)
    assert found.search(rows[:1], 1)[0][0].item == items[0]
    assert missing(without, without.manifest(gallery)) == []
    assert build_missing(without, SegmentFiles(without, tmp_path / "files"), gallery) == 0
    assert cache.current(gallery).awaited == ()


def test_the_keeper_tidies(
    settings: Settings, store: GalleryStore, milvus: MilvusServer, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = IndexKeeper(settings, store)
    store.choose_index(gallery, IndexChoice().to_dict())
    keeper.tidy()
    assert milvus.partitions(collection_of(store, gallery)) == ()
    monkeypatch.setattr("worker.index_keeper.look_after", lambda *_: pytest.fail("it tidies every ten minutes"))
    keeper.tidy()


def test_partitions_have_names_that_tell_their_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_records.time, "time", lambda: 1_800_000_000.0)
    assert begun_s(new_partition()) == 1_800_000_000.0
    assert begun_s("_default") == begun_s("other") == 0


def test_the_client_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymilvus", None)
    with pytest.raises(ConfigurationError, match="SHITU_MILVUS__URI"):
        open_milvus(MilvusSettings(uri="http://127.0.0.1:1"))


def test_binary_galleries_are_not_joined_with_one_in_milvus(
    store: GalleryStore, cache: GalleryCache, gallery: str
) -> None:
    store.create("codes", "d" * 64, index=IndexChoice(dist_type="hamming").to_dict())
    add(store, "codes", 20, 5000)
    with pytest.raises(GalleryError, match="codes"):
        cache.joined([cache.current(gallery), cache.current("codes")])
    assert cache.current("codes").gallery.dim == DIM


def test_a_new_version_keeps_what_is_remembered_and_a_second_look_asks_for_no_item(
    store: GalleryStore, cache: GalleryCache, milvus: MilvusServer, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, rows = made_items(150)
    found = cache.current(gallery).gallery.search_labels(rows[:1], 3)[0]
    add(store, gallery, 2, 5000)
    for name in ("rows", "items", "count"):
        monkeypatch.setattr(milvus, name, lambda *_: pytest.fail("the server was asked again"))
    again = cache.current(gallery).gallery
    assert len(again) == 152
    assert [one.item for one in again.search(rows[:1], 3)[0]] == [one.item for one in found.matches]
    assert again.find(items[0].id) == items[0]


def test_a_server_that_hangs_is_waited_for_no_longer_than_the_setting_says(
    lite: MilvusLite, collections: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_ones_large(monkeypatch)
    server = open_milvus(MilvusSettings(uri=lite.uri, collections=collections, index_type="FLAT", timeout_s=1))
    store = GalleryStore(LocalStore(tmp_path / "objects"), milvus=server)
    store.create("drinks", "d" * 64, index=MILVUS)
    _, rows = add(store, "drinks", 120)
    build(store, "drinks", tmp_path / "files")
    found = GalleryCache(store, 1 << 30, folder=tmp_path / "cache").current("drinks").gallery
    assert lite.pid
    os.kill(lite.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(MilvusUnavailable):
            found.search(rows[:1], 1)
        assert time.monotonic() - began < 10
    finally:
        os.kill(lite.pid, signal.SIGCONT)

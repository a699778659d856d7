"""What a gallery has lost leaves its Milvus server: after erasures, purges, deaths of fillers, and other versions."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from contracts.indexes import IndexChoice
from infra.erasure.eraser import Eraser
from infra.erasure.rows import erase_rows
from infra.errors.galleries import MilvusUnavailable
from infra.galleries.deleted import all_deleted, purge
from infra.galleries.milvus import MilvusServer, open_milvus
from infra.galleries.milvus_tidy import look_after
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger
from infra.objects.local import LocalStore
from infra.runtime.settings import MilvusSettings
from tests.milvus_server import MilvusLite
from tests.worker.large import add, build, made_items, make_small_ones_large
from tests.worker.milvus.conftest import MILVUS, collection_of
from worker.gallery_cache import GalleryCache
from worker.milvus_filler import fill


def test_a_gallery_that_was_purged_where_nobody_knew_the_server_goes_from_it(
    store: GalleryStore, milvus: MilvusServer, gallery: str, tmp_path: Path
) -> None:
    collection = collection_of(store, gallery)
    without = GalleryStore(LocalStore(tmp_path / "objects"))
    without.delete(gallery)
    assert all(purge(without, one) for one in all_deleted(without))
    assert milvus.partitions(collection) != ()
    look_after(store, milvus)
    assert milvus.partitions(collection) == ()


def test_a_filler_that_dies_after_the_erasure_leaves_nothing_for_long(
    store: GalleryStore, cache: GalleryCache, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("drinks", "d" * 64, index=MILVUS)
    items, _ = add(store, "drinks", 150)
    collection, generation = collection_of(store, "drinks"), store.manifest("drinks").generation

    def erased_meanwhile(*about: object) -> object:
        erase_rows(store, "drinks", generation, {items[7].id}, "9999")
        return fill(*about)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("worker.index_builder.fill", erased_meanwhile)
        patch.setattr("worker.index_builder._forget_if_gone", lambda *_: pytest.fail("it died"))
        with pytest.raises(BaseException, match="it died"):
            build(store, "drinks", tmp_path / "files")
    assert milvus.items(collection, milvus.partitions(collection), {items[7].id})
    look_after(store, milvus)
    assert not milvus.items(collection, milvus.partitions(collection), {items[7].id})
    assert cache.current("drinks").gallery.find(items[7].id) is None


def test_the_server_holds_the_version_in_force_alone(
    store: GalleryStore, cache: GalleryCache, milvus: MilvusServer, gallery: str, tmp_path: Path
) -> None:
    first = store.manifest(gallery).version
    for start in range(1000, 3200, 110):
        add(store, gallery, 110, start)
        build(store, gallery, tmp_path / "files")
    look_after(store, milvus)
    manifest, collection = store.manifest(gallery), collection_of(store, gallery)
    filled = [one for one in manifest.segments if one.live_count >= 100]
    assert len(milvus.partitions(collection)) == len(filled)
    store.activate(gallery, first)
    items, rows = made_items(150)
    assert cache.current(gallery).gallery.search(rows[:1], 1)[0][0].item == items[0]
    build(store, gallery, tmp_path / "files")
    assert cache.current(gallery).gallery.search(rows[:1], 1)[0][0].item == items[0]


def test_one_gallery_that_is_damaged_keeps_no_other_from_its_turn(
    store: GalleryStore, milvus: MilvusServer, gallery: str, tmp_path: Path
) -> None:
    store.create("a", "d" * 64, index=MILVUS)
    add(store, "a", 120)
    build(store, "a", tmp_path / "files")
    for path in (tmp_path / "objects/galleries/files/a").rglob("manifests/*"):
        path.write_bytes(b"{")
    store.choose_index(gallery, IndexChoice().to_dict())
    fresh = GalleryStore(LocalStore(tmp_path / "objects"), milvus=milvus)
    assert look_after(fresh, milvus) == 1
    assert milvus.partitions(collection_of(store, gallery)) == ()


def test_what_is_not_in_milvus_needs_no_server(tmp_path: Path, redis_client: redis.Redis) -> None:
    away = open_milvus(MilvusSettings(uri="http://127.0.0.1:1", timeout_s=1))
    store = GalleryStore(LocalStore(tmp_path / "objects"), milvus=away)
    store.create("flat", "d" * 64)
    items, _ = add(store, "flat", 150)
    eraser = Eraser(store, redis_client, JobLedger(redis_client), -9, 1000)
    receipt = eraser.erase_items("flat", [items[7].id])
    assert (receipt.vectors > 0, receipt.completed_at is not None) == (True, True)
    store.delete("flat")
    assert all(purge(store, one) for one in all_deleted(store))


def test_an_erasure_counts_its_rows_once_whatever_the_server_does(
    lite: MilvusLite, collections: str, tmp_path: Path, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_ones_large(monkeypatch)
    server = open_milvus(MilvusSettings(uri=lite.uri, collections=collections, index_type="FLAT", timeout_s=1))
    assert server is not None
    store = GalleryStore(LocalStore(tmp_path / "objects"), milvus=server)
    store.create("drinks", "d" * 64, index=MILVUS)
    items, _ = add(store, "drinks", 150)
    build(store, "drinks", tmp_path / "files")
    eraser = Eraser(store, redis_client, JobLedger(redis_client), -9, 1000)
    lite.stop()
    try:
        with pytest.raises(MilvusUnavailable):
            eraser.erase_items("drinks", [items[7].id])
    finally:
        lite.start()  # for the other tests too
    (left,) = eraser.records.unfinished()
    assert left.vectors > 0
    until = time.monotonic() + 60
    done = left
    while done.completed_at is None and time.monotonic() < until:
        with suppress(MilvusUnavailable):
            done = eraser.finish(left)
        time.sleep(0.1)
    assert done.vectors == left.vectors
    assert server.partitions(collection_of(store, "drinks")) == ()

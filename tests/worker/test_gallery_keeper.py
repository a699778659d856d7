"""The keeper purges galleries that were deleted long enough ago, on a real Redis and a real folder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from infra.erasure.records import Erasure, Erasures
from infra.errors.service import RedisMisconfigured
from infra.galleries.deleted import all_deleted
from infra.galleries.store import GalleryLock, GalleryStore, item_id
from infra.objects.opening import open_store
from infra.runtime.settings import GallerySettings
from tests.infra.gallery_items import add, item
from worker.gallery_keeper import GalleryKeeper
from worker.process import Process


def test_a_round_purges_what_is_due(process: Process, redis_client: redis.Redis) -> None:
    objects = open_store(process.settings.objects, process.settings.data_dir)
    store = GalleryStore(objects, lock=GalleryLock(redis_client))
    store.create("old")
    add(store, "old", item(1))
    store.delete("old")
    GalleryKeeper(process.settings, store, redis_client, process.ledger).round()
    assert len(all_deleted(store)) == 1  # not before a week is over

    def forbid() -> None:
        raise RedisMisconfigured("It is another installation's.")

    at_once = replace(process.settings, galleries=GallerySettings(keep_deleted_s=0))
    with pytest.raises(RedisMisconfigured):
        GalleryKeeper(at_once, store, redis_client, process.ledger, forbid).round()
    assert len(all_deleted(store)) == 1
    GalleryKeeper(at_once, store, redis_client, process.ledger).round()
    assert all_deleted(store, purging=True) == []
    assert not list(objects.list("galleries/files/"))


def test_a_round_finishes_what_somebody_died_over(process: Process, redis_client: redis.Redis) -> None:
    objects = open_store(process.settings.objects, process.settings.data_dir)
    store = GalleryStore(objects, lock=GalleryLock(redis_client))
    store.create("drinks")
    key = objects.put_image(b"a picture")
    sha256 = key.rpartition("/")[2]
    one = replace(item(1), id=item_id(sha256, "tea"), label="tea", sha256=sha256, image_key=key)
    add(store, "drinks", one, item(2))
    generation = store.manifest("drinks").generation
    erasure = Erasure(
        "ers_01h00000000000000000000000", "items", "2026-01-02T00:00:00.000Z",
        gallery="drinks", generations=(generation,), item_ids=(one.id,), pictures=(key,),
    )  # fmt: skip
    Erasures(objects).note(erasure)
    at_once = replace(process.settings, galleries=GallerySettings(picture_grace_s=0))
    GalleryKeeper(at_once, store, redis_client, process.ledger).round()
    assert Erasures(objects).get(erasure.id).erased == (sha256,)
    assert [left.id for left in store.items("drinks")] == [item(2).id]
    assert not objects.exists(key)

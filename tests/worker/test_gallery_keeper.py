"""The keeper purges galleries that were deleted long enough ago, on a real Redis and a real folder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from infra.errors import RedisMisconfigured
from infra.galleries.deleted import all_deleted
from infra.galleries.store import GalleryLock, GalleryStore
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
    GalleryKeeper(process.settings, store, process.ledger.time).round()
    assert len(all_deleted(store)) == 1  # not before a week is over

    def forbid() -> None:
        raise RedisMisconfigured("It is another installation's.")

    at_once = replace(process.settings, galleries=GallerySettings(keep_deleted_s=0))
    with pytest.raises(RedisMisconfigured):
        GalleryKeeper(at_once, store, process.ledger.time, forbid).round()
    assert len(all_deleted(store)) == 1
    GalleryKeeper(at_once, store, process.ledger.time).round()
    assert all_deleted(store, purging=True) == []
    assert not list(objects.list("galleries/files/"))

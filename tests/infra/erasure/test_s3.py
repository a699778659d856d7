"""Erasure and restoring in a bucket of a real S3 server: the same as in a folder."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from infra.erasure.eraser import Eraser
from infra.galleries.deleted import purge_due, restore
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger
from infra.objects.opening import open_store
from infra.runtime.settings import ObjectSettings
from tests.infra.erasure.test_items import pictured
from tests.infra.gallery_items import add, check, embedding


@pytest.mark.slow
def test_what_is_erased_is_in_no_object(
    tmp_path: Path, redis_client: redis.Redis, s3_endpoint: str, s3_bucket: str
) -> None:
    objects = open_store(ObjectSettings(url=f"s3://{s3_bucket}/p", endpoint_url=s3_endpoint), tmp_path)
    store = GalleryStore(objects)
    store.create("g")
    items = [pictured(objects, number) for number in range(4)]
    add(store, "g", *items[:2])
    add(store, "g", *items[2:])

    def holding(number: int) -> list[str]:
        needles = (f"the picture number {number}.".encode(), embedding(items[number]).tobytes())
        return [key for key in objects.list("") if any(needle in objects.get(key) for needle in needles)]

    ledger = JobLedger(redis_client)
    fresh = Eraser(store, redis_client, ledger, 3600, 1000).erase_items("g", [items[0].id])
    assert (fresh.completed_at, len(holding(0))) == (None, 2)  # the picture and its preview, stored just now
    eraser = Eraser(store, redis_client, ledger, -9, 1000)
    assert eraser.finish_left(after_s=-1) == 1
    assert holding(0) == []
    assert len(holding(1)) == 3
    check(GalleryStore(objects), "g", {one.id for one in items[1:]})
    store.delete("g")
    restore(store, "g")
    check(GalleryStore(objects), "g", {one.id for one in items[1:]})
    store.delete("g")
    assert purge_due(store, 0, time.time() + 9, eraser.before_purge) == 1
    assert eraser.finish_left(after_s=-1) == 1
    assert [key.partition("/")[0] for key in objects.list("")] == ["erasures", "galleries"]

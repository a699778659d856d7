"""How many vectors each gallery has, as Prometheus reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prometheus_client.core import Metric

from infra.errors.service import StorageUnavailable
from infra.galleries import metrics
from infra.galleries.metrics import GalleryCollector
from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.local import LocalStore


def fill(store: GalleryStore, name: str, count: int) -> None:
    store.create(name)
    if count:
        digests = [f"{number:064x}" for number in range(count)]
        items = [
            Item(
                item_id(digest, "tea"), "tea", f"images/00/{digest}", digest, box=None, added_at="2026-01-01T00:00:00Z"
            )
            for digest in digests
        ]
        store.add(name, items, np.eye(count, 8, dtype=np.float32), "a" * 64)


def samples(collector: GalleryCollector) -> dict[tuple[str, ...], float]:
    families: list[Metric] = list(collector.collect())
    return {(family.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_each_gallery_has_its_vectors_and_its_version(tmp_path: Path) -> None:
    store = GalleryStore(LocalStore(tmp_path))
    fill(store, "empty", 0)
    fill(store, "drinks", 3)
    collector = GalleryCollector(store, refresh_s=0, patience_s=10)
    assert samples(collector) == {
        ("shitu_index_vectors", "drinks"): 3,
        ("shitu_index_vectors", "empty"): 0,
        ("shitu_index_version_info", "drinks", str(store.manifest("drinks").version)): 1,
        ("shitu_index_version_info", "empty", str(store.manifest("empty").version)): 1,
    }
    store.delete("empty")
    assert ("shitu_index_vectors", "empty") not in samples(collector)


def test_only_the_largest_have_a_series_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "NAMED", 1)
    store = GalleryStore(LocalStore(tmp_path))
    for name, count in (("a", 1), ("b", 3), ("c", 2)):
        fill(store, name, count)
    report = samples(GalleryCollector(store, refresh_s=0, patience_s=10))
    assert {key: value for key, value in report.items() if key[0] == "shitu_index_vectors"} == {
        ("shitu_index_vectors", "b"): 3,
        ("shitu_index_vectors", "_other"): 3,
    }
    assert sum(key[0] == "shitu_index_version_info" for key in report) == 1


def test_a_store_that_fails_costs_no_scrape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GalleryStore(LocalStore(tmp_path))
    fill(store, "drinks", 3)
    collector = GalleryCollector(store, refresh_s=0, patience_s=10)
    before = samples(collector)

    def fail() -> tuple[str, ...]:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(store, "names", fail)
    assert samples(collector) == before

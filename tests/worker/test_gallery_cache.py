"""The cache of searchable galleries on a real store: never older than the store, never much larger than allowed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.errors.galleries import GalleryNotFound
from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.opening import open_store
from infra.runtime.settings import ObjectSettings
from models.galleries.calibration import from_threshold
from worker.gallery_cache import GalleryCache

DIM = 8


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return GalleryStore(open_store(ObjectSettings(), tmp_path))


def add(store: GalleryStore, name: str, labels: Sequence[str]) -> NDArray[np.float32]:
    """Adds an item for each label, with the embeddings that are returned."""
    rows = np.random.default_rng(len(labels)).normal(size=(len(labels), DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    hashes = [hashlib.sha256(label.encode()).hexdigest() for label in labels]
    items = [
        Item(item_id(sha256, label), label, f"images/{sha256}", sha256, None, "2026-01-01T00:00:00.000Z")
        for label, sha256 in zip(labels, hashes, strict=True)
    ]
    store.add(name, items, rows, "digest")
    return rows


def nearest(cache: GalleryCache, name: str, query: NDArray[np.float32]) -> str:
    """The label of the item nearest to `query`."""
    return cache.current(name).gallery.search(query[None], 1)[0][0].item.label


def test_a_change_is_seen_at_the_next_look(store: GalleryStore) -> None:
    store.create("drinks")
    cache = GalleryCache(store, limit_bytes=1 << 20)
    assert cache.current("drinks").manifest.item_count == 0
    rows = add(store, "drinks", ["cola", "juice"])
    assert nearest(cache, "drinks", rows[1]) == "juice"
    store.remove("drinks", labels=["juice"])
    assert nearest(cache, "drinks", rows[1]) == "cola"
    store.activate("drinks", 2)
    assert nearest(cache, "drinks", rows[1]) == "juice"


def test_what_has_not_changed_is_loaded_once(store: GalleryStore) -> None:
    store.create("drinks")
    add(store, "drinks", ["cola", "juice"])
    cache = GalleryCache(store, limit_bytes=1 << 20)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.current("drinks").gallery, range(32)))
    assert all(gallery is found[0] for gallery in found)


def test_a_gallery_made_again_under_its_name_is_another_one(store: GalleryStore) -> None:
    store.create("drinks")
    rows = add(store, "drinks", ["cola"])
    cache = GalleryCache(store, limit_bytes=1 << 20)
    assert nearest(cache, "drinks", rows[0]) == "cola"
    store.delete("drinks")
    with pytest.raises(GalleryNotFound):
        cache.current("drinks")
    store.create("drinks")
    again = add(store, "drinks", ["tea"])
    assert cache.current("drinks").manifest.version == 2  # as before it was deleted
    assert nearest(cache, "drinks", again[0]) == "tea"


def test_the_gallery_used_longest_ago_goes_first(store: GalleryStore) -> None:
    for name in ("first", "second", "third"):
        store.create(name)
        add(store, name, ["cola", "juice"])
    one = GalleryCache(store, limit_bytes=1 << 20).current("first").size_bytes
    cache = GalleryCache(store, limit_bytes=2 * one)
    first, second = cache.current("first").gallery, cache.current("second").gallery
    assert cache.current("first").gallery is first
    cache.current("third")
    assert cache.size_bytes <= 2 * one
    assert cache.current("first").gallery is first
    assert cache.current("second").gallery is not second


def test_one_gallery_may_be_larger_than_the_limit(store: GalleryStore) -> None:
    store.create("large")
    rows = add(store, "large", [f"label {number}" for number in range(50)])
    cache = GalleryCache(store, limit_bytes=1)
    assert nearest(cache, "large", rows[7]) == "label 7"


def test_what_was_fitted_to_a_version_goes_with_it(store: GalleryStore, caplog: pytest.LogCaptureFixture) -> None:
    store.create("drinks")
    add(store, "drinks", ["cola", "juice"])
    cache = GalleryCache(store, limit_bytes=1 << 20)
    assert cache.current("drinks").gallery.calibration is None  # as in an older gallery
    own = dataclasses.replace(from_threshold(0.4), source="gallery", queries=40)
    for calibration, expected in ((own.to_dict(), own), ({"schema": "of a later version"}, None)):
        row = np.random.default_rng(len(calibration)).normal(size=(1, DIM)).astype(np.float32)
        sha256 = hashlib.sha256(row.tobytes()).hexdigest()
        item = Item(item_id(sha256, "tea"), "tea", f"images/{sha256}", sha256, None, "2026-01-01T00:00:00.000Z")
        store.add("drinks", [item], row, "digest", calibrate=lambda *_, report=calibration: report)
        assert cache.current("drinks").gallery.calibration == expected
    assert "the embedder's calibration is used" in caplog.text

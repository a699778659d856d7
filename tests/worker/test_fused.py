"""A gallery that fuses its pictures, as a worker searches it: every change of it at once, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.indexes import IndexChoice
from infra.galleries.corrections import rename_item
from infra.galleries.indexes import described, due
from infra.galleries.store import GalleryStore, Item
from infra.objects.local import LocalStore
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.vectors import unit_rows
from tests.infra.gallery_items import DIGEST, calibrate
from tests.worker.large import DIM, made_items, make_small_ones_large
from worker.gallery_cache import GalleryCache

FUSED = IndexChoice(fuse=True).to_dict()


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    store = GalleryStore(LocalStore(tmp_path / "objects"))
    store.create("drinks", index=FUSED)
    return store


@pytest.fixture
def cache(store: GalleryStore, tmp_path: Path) -> GalleryCache:
    return GalleryCache(store, 1 << 30, folder=tmp_path / "cache")


def add(store: GalleryStore, count: int, start: int = 0, **how: Any) -> tuple[list[Item], NDArray[np.float32]]:
    items, rows = made_items(count, start, labels=5)
    store.add("drinks", items, rows, DIGEST, **how)
    return items, rows


def check(cache: GalleryCache, items: list[Item], rows: NDArray[np.float32]) -> FusedGallery:
    """The gallery searches the means of just these items."""
    gallery = cache.current("drinks").gallery
    assert isinstance(gallery, FusedGallery)
    assert {item.id for item in gallery.items} == {item.id for item in items}
    queries = unit_rows(np.random.default_rng(3).normal(size=(6, DIM)).astype(np.float32))
    labels = np.array([item.label for item in items])
    for query, found in zip(queries, gallery.search_labels(queries, 50), strict=True):
        means = {label: rows[labels == label].mean(axis=0) for label in set(labels.tolist())}
        expected = {label: float(mean @ query / np.linalg.norm(mean)) for label, mean in means.items()}
        assert {one.label: pytest.approx(one.score, abs=1e-5) for one in found.labels} == expected
        for match in found.matches:
            of_label = np.flatnonzero(labels == match.item.label)
            assert match.item.id == items[of_label[np.argmax(rows[of_label] @ query)]].id
    return gallery


def test_every_change_is_searched_at_once_and_can_be_taken_back(store: GalleryStore, cache: GalleryCache) -> None:
    items, rows = add(store, 12)
    check(cache, items, rows)
    more, more_rows = add(store, 3, start=50)
    every, every_rows = [*items, *more], np.concatenate([rows, more_rows])
    check(cache, every, every_rows)
    store.remove("drinks", item_ids=[items[0].id])
    check(cache, every[1:], every_rows[1:])
    store.undo("drinks")
    check(cache, every, every_rows)
    store.remove("drinks", labels=[items[0].label])
    kept = [at for at, item in enumerate(every) if item.label != items[0].label]
    check(cache, [every[at] for at in kept], every_rows[kept])
    store.activate("drinks", 3)
    check(cache, every, every_rows)
    changed = rename_item(store, "drinks", items[1].id, "another")
    now = list(store.items("drinks"))
    places = {item.sha256: at for at, item in enumerate(every)}
    assert changed.manifest.index == FUSED
    check(cache, now, every_rows[[places[item.sha256] for item in now]])
    assert store.load("drinks")[2].shape == (15, DIM)  # every picture stays


def test_it_is_chosen_later_and_undone(store: GalleryStore, cache: GalleryCache) -> None:
    items, rows = add(store, 12)
    store.choose_index("drinks", IndexChoice().to_dict())
    assert type(cache.current("drinks").gallery) is Gallery
    store.choose_index("drinks", FUSED)
    check(cache, items, rows)
    report = described(store, store.manifest("drinks"))
    assert (report["fuse"], report["in_use"], report["state"], "fuse_by" in report) == (True, "Flat", "exact", False)
    store.undo("drinks")
    assert type(cache.current("drinks").gallery) is Gallery
    assert "fuse" not in described(store, store.manifest("drinks"))


def test_binary_codes_of_the_means(store: GalleryStore, cache: GalleryCache) -> None:
    items, rows = add(store, 12)
    choice = IndexChoice("HNSW32", "hamming", 100, fuse=True, fuse_by="side")
    store.choose_index("drinks", choice.to_dict())
    check(cache, items, rows)  # all of 5 codes are re-ranked
    report = described(store, store.manifest("drinks"))
    assert (report["in_use"], report["fuse"], report["fuse_by"]) == ("BHNSW32,R100", True, "side")


def test_a_large_one_maps_its_pictures_and_builds_no_index(
    store: GalleryStore, cache: GalleryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_ones_large(monkeypatch)
    items, rows = add(store, 1200)
    more, more_rows = add(store, 3, start=5000)
    assert due(store.manifest("drinks")) == []
    gallery = check(cache, [*items, *more], np.concatenate([rows, more_rows]))
    assert gallery.thing_count == 5
    assert cache.current("drinks").size_bytes < rows.nbytes + 700 * 1203


def test_the_calibration_is_fitted_with_the_things(store: GalleryStore) -> None:
    items, _ = add(store, 12, calibrate=calibrate)
    fitted = store.manifest("drinks").calibration
    assert fitted is not None
    assert fitted["things"] == [at % 5 for at in range(12)]
    removed = store.remove("drinks", item_ids=[items[0].id], calibrate=calibrate).calibration
    assert removed is not None
    assert removed["things"] == [(at % 5) for at in range(11)]  # counted in the order of what is left
    plain = store.choose_index("drinks", IndexChoice().to_dict())
    assert (plain.calibration, plain.calibrated_items) == (None, 0)  # of other vectors
    codes = store.choose_index("drinks", IndexChoice(dist_type="hamming").to_dict(), calibrate)
    assert codes.calibration is None  # these are not: what was fitted, or not, stays
    again = store.choose_index("drinks", FUSED, calibrate).calibration
    assert again == removed
    json.dumps(again)

"""The keeper's rounds with the real builder in its own process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from infra.galleries.indexes import described
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from infra.runtime.settings import load_settings
from tests.worker.large import add
from worker.index_keeper import IndexKeeper


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GalleryStore:
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path))
    store = GalleryStore(LocalStore(tmp_path / "objects"))
    store.create("drinks", "d" * 64, index={"index_method": "HNSW32", "dist_type": "IP", "rerank": 100})
    return store


def keeper(tmp_path: Path, store: GalleryStore) -> IndexKeeper:
    return IndexKeeper(load_settings({"SHITU_DATA_DIR": str(tmp_path)}), store)


def test_a_round_builds_what_is_missing_in_a_process_of_its_own(store: GalleryStore, tmp_path: Path) -> None:
    add(store, "drinks", 300)
    keeper(tmp_path, store).round(threading.Event())
    report = described(store, store.manifest("drinks"))
    assert (report["state"], report["in_use"], report["indexed_items"]) == ("built", "HNSW32_SQ8,RFlat", 300)


def test_a_builder_that_fails_is_left_alone_for_a_while(
    store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add(store, "drinks", 300)
    monkeypatch.setenv("SHITU_LOG__LEVEL", "nonsense")  # the builder refuses its settings
    rounds = keeper(tmp_path, store)
    rounds.round(threading.Event())
    assert "an index was not built" in caplog.text
    caplog.clear()
    rounds.round(threading.Event())
    assert not caplog.text


def test_a_stop_ends_the_builder_and_nothing_is_half_done(store: GalleryStore, tmp_path: Path) -> None:
    add(store, "drinks", 300)
    stop = threading.Event()
    thread = threading.Thread(target=keeper(tmp_path, store).round, args=(stop,))
    thread.start()
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    report = described(store, store.manifest("drinks"))
    assert report["state"] in {"building", "built"}  # it may have been faster
    if report["state"] == "building":
        assert store.load("drinks")[0].item_count == 300

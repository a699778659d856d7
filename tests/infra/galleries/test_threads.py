"""Many writers and readers of a gallery at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from infra.errors.galleries import GalleryBusy
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from tests.infra.gallery_items import add, check, embedding, item


def test_threads_that_add_together_lose_nothing(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    GalleryStore(objects).create("g")
    shared, failures = GalleryStore(objects), []

    def write(start: int) -> None:
        store = shared if start % 20 else GalleryStore(objects)  # another store object is like another process
        try:
            for number in range(start, start + 5):
                add(store, "g", item(number))
        except BaseException as error:  # reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    check(shared, "g", {item(10 * start + number).id for start in range(4) for number in range(5)})


def test_readers_always_see_a_whole_version(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    writer, reader = GalleryStore(objects), GalleryStore(objects)
    writer.create("g")
    add(writer, "g", item(0), item(1))
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(2, 60, 2):
                add(writer, "g", item(number), item(number + 1))
                if number % 6 == 0:
                    writer.remove("g", item_ids=[item(number - 2).id, item(number - 1).id])
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        manifest, items, embeddings = reader.load("g")
        assert len(items) == manifest.item_count == len(embeddings)
        assert manifest.item_count % 2 == 0
        for one, row in zip(items, embeddings, strict=True):
            np.testing.assert_array_equal(row, embedding(one))
    thread.join()


def test_a_writer_that_waits_too_long_is_reported(tmp_path: Path) -> None:
    store = GalleryStore(LocalStore(tmp_path))
    store.create("g")
    store._local._wait_s = 0.05
    with GalleryStore(LocalStore(tmp_path))._writing("g"), pytest.raises(GalleryBusy) as busy:
        store.remove("g")
    assert busy.value.retryable

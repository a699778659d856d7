"""Deleted galleries: restored as they were, next to new ones of their name, purged in time, whoever dies in between."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from infra.errors.galleries import GalleryExists, GalleryNotFound, VersionNotFound
from infra.galleries.deleted import all_deleted, purge_due, restore
from infra.galleries.feedback import GalleryFeedback
from infra.galleries.store import MAX_SEGMENTS, GalleryStore
from tests.infra.galleries.test_crashes import Death, Dying
from tests.infra.gallery_items import add, check, item, prepared

WEEK_S = 604_800.0


def test_a_deleted_gallery_comes_back_with_its_versions_and_its_feedback(tmp_path: Path) -> None:
    objects, ids = prepared(tmp_path, 3)
    store, reader = GalleryStore(objects), GalleryStore(objects)
    feedback = GalleryFeedback(objects, reader)
    made = feedback.add("g", "rec_1", 2, None, "right", "a", "a", "images/aa/aa", (4, 4))
    versions = store.versions("g")
    store.delete("g")
    assert reader.names() == ()
    with pytest.raises(GalleryNotFound):
        reader.manifest("g")
    (found,) = all_deleted(reader)
    assert (found.name, found.version, found.item_count) == ("g", 4, 6)
    restored = restore(store, "g")
    assert restored.version == 4
    assert reader.names() == ("g",)
    assert reader.versions("g") == versions
    check(reader, "g", ids)
    check(reader, "g", {item(0).id, item(1000).id}, version=2)
    assert feedback.page("g").feedback == [made]
    assert all_deleted(reader) == []
    assert restore(store, "g", found.generation) == restored  # the answer was lost, and the request is repeated
    add(store, "g", item(9))
    check(reader, "g", {*ids, item(9).id})


def test_a_new_gallery_of_the_name_hinders_the_restoring_and_harms_nothing(tmp_path: Path) -> None:
    objects, ids = prepared(tmp_path, 3)
    store = GalleryStore(objects)
    store.delete("g")
    store.create("g")
    assert GalleryFeedback(objects, store).page("g").feedback == []
    for number in range(MAX_SEGMENTS + 2):  # merges prune what nobody needs, and only that
        add(store, "g", item(100 + number))
    with pytest.raises(GalleryExists, match="Delete it first"):
        restore(store, "g")
    store.delete("g")
    first, second = all_deleted(store, "g")
    assert (first.item_count, second.item_count) == (6, MAX_SEGMENTS + 2)
    restore(store, "g", first.generation)
    check(GalleryStore(objects), "g", ids)
    store.delete("g")
    assert restore(store, "g").item_count == 6  # the last one deleted
    store.delete("g")
    restore(store, "g", second.generation)
    check(GalleryStore(objects), "g", {item(100 + number).id for number in range(MAX_SEGMENTS + 2)})
    with pytest.raises(GalleryNotFound):
        restore(store, "h")


def test_a_purge_takes_what_is_due_and_leaves_the_rest(tmp_path: Path) -> None:
    objects, _ = prepared(tmp_path, 3)
    store = GalleryStore(objects)
    GalleryFeedback(objects, store).add("g", "rec_1", 2, None, "right", "a", "a", "images/aa/aa", (4, 4))
    store.delete("g")
    (old,) = all_deleted(store)
    store.create("g")
    add(store, "g", item(7))
    assert purge_due(store, WEEK_S, old.deleted_s + WEEK_S - 1) == 0
    assert purge_due(store, WEEK_S, old.deleted_s + WEEK_S) == 1
    assert all_deleted(store, purging=True) == []
    assert not [key for key in objects.list("galleries/") if old.generation in key]
    check(GalleryStore(objects), "g", {item(7).id})
    with pytest.raises(GalleryExists):
        restore(store, "g")
    store.delete("g")
    with pytest.raises(GalleryNotFound):
        restore(store, "g", old.generation)


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_death_at_any_write_of_a_restoring_leaves_it_deleted_or_there(tmp_path: Path, after: bool) -> None:
    for at in range(1, 20):
        objects, ids = prepared(tmp_path / str(at), 2)
        GalleryStore(objects).delete("g")
        dying = Dying(objects, at, after)
        with suppress(Death):
            restore(GalleryStore(dying), "g")
        store = GalleryStore(objects)
        if "g" not in store.names():
            restore(store, "g")
        check(store, "g", ids)
        assert all_deleted(store) == []
        assert purge_due(store, 0, time.time() + 9) == 0  # a record that was left counts for nothing
        check(GalleryStore(objects), "g", ids)
        store.delete("g")
        assert len(all_deleted(store)) == 1
        if not dying.dead:
            break
    assert at > 2


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_death_at_any_write_of_a_purge_is_finished_by_the_next(tmp_path: Path, after: bool) -> None:
    for at in range(1, 40):
        objects, ids = prepared(tmp_path / str(at), 1)
        GalleryStore(objects).delete("g")
        dying = Dying(objects, at, after)
        with suppress(Death):
            purge_due(GalleryStore(dying), 0, time.time() + 9)
        store = GalleryStore(objects)
        if all_deleted(store):  # nothing was removed yet
            check_whole(store, ids)
        purge_due(store, 0, time.time() + 9)
        assert not [key for key in objects.list("galleries/") if not key.startswith("galleries/current/")]
        if not dying.dead:
            break
    assert at > 5


def check_whole(store: GalleryStore, ids: set[str]) -> None:
    restore(store, "g")
    check(store, "g", ids)
    store.delete("g")


def test_a_creation_repeated_after_its_gallery_was_deleted_does_not_touch_that(tmp_path: Path) -> None:
    objects, _ = prepared(tmp_path, 0)
    store = GalleryStore(objects)
    first = store.create("h", generation="0123456789ab")
    add(store, "h", item(1))
    store.delete("h")
    again = store.create("h", generation="0123456789ab")  # by the same Idempotency-Key
    assert again.generation != first.generation
    assert store.create("h", generation="0123456789ab") == again
    store.delete("h")
    restore(store, "h", first.generation)
    check(store, "h", {item(1).id})


def test_the_last_change_is_undone_and_so_is_the_one_before(tmp_path: Path) -> None:
    objects, ids = prepared(tmp_path, 2)
    store = GalleryStore(objects)
    store.remove("g", labels=["label 0"])
    assert store.undo("g").version == 3
    check(store, "g", ids)
    assert store.undo("g").version == 2
    add(store, "g", item(50))
    assert (store.manifest("g").version, store.undo("g").version, store.undo("g").version) == (5, 2, 1)
    with pytest.raises(VersionNotFound):
        store.undo("g")


def test_restoring_and_purging_at_once_end_with_all_or_nothing(tmp_path: Path) -> None:
    for number in range(8):
        objects, ids = prepared(tmp_path / str(number), 2)
        GalleryStore(objects).delete("g")
        purger = threading.Thread(target=purge_due, args=(GalleryStore(objects), 0, time.time() + 9))
        purger.start()
        try:
            restore(GalleryStore(objects), "g")
        except GalleryNotFound:
            purger.join()
            assert not list(objects.list("galleries/files/"))
        else:
            purger.join()
            check(GalleryStore(objects), "g", ids)

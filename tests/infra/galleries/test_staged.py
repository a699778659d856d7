"""Versions that were made to be activated later: known as such until they were in force, whatever happens around them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from infra.erasure.rows import erase_rows
from infra.galleries.corrections import bring_back, rename_item
from infra.galleries.deleted import restore
from infra.galleries.keys import POINTERS
from infra.galleries.store import GalleryStore
from infra.galleries.writer import HELD_S
from infra.objects.local import LocalStore
from tests.infra.gallery_items import DIGEST, add, embedding, item


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return GalleryStore(LocalStore(tmp_path / "objects"))


def stage(store: GalleryStore, number: int) -> int:
    new = item(number)
    return store.add("g", [new], np.stack([embedding(new)]), DIGEST, activate=False).manifest.version


def test_a_staged_version_is_known_as_one_until_it_was_in_force(store: GalleryStore) -> None:
    store.create("g")
    add(store, "g", item(1))
    assert [stage(store, 2), stage(store, 3)] == [3, 4]
    assert (store.manifest("g").version, store.staged("g")) == (2, {3, 4})
    add(store, "g", item(4))
    assert (store.manifest("g").version, store.staged("g")) == (5, {3, 4})
    store.activate("g", 3)
    assert store.staged("g") == {4}
    store.activate("g", 5)
    assert store.staged("g") == {4}  # what was in force once is gone back to
    assert GalleryStore(store.objects).staged("g") == {4}


def test_an_erasure_a_deletion_and_an_undo_leave_it_so(store: GalleryStore) -> None:
    store.create("g")
    add(store, "g", item(1), item(2))
    assert stage(store, 3) == 3
    assert erase_rows(store, "g", store.manifest("g").generation, [item(1).id], "2027-01-01T00:00:00Z")
    assert (store.versions("g"), store.staged("g")) == ((1, 2, 3, 4), {3})
    store.delete("g")
    assert restore(store, "g").version == 4
    assert store.staged("g") == {3}
    assert store.undo("g").version == 2
    assert store.staged("g") == {3}


def test_a_version_that_is_kept_no_more_is_not_staged_either(
    store: GalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.galleries.writer.KEPT_VERSIONS", 3)
    store.create("g")
    add(store, "g", item(1))
    stage(store, 2)
    for number in range(3, 6):
        add(store, "g", item(number))
    assert (store.versions("g"), store.staged("g")) == ((4, 5, 6), frozenset())


def test_a_pointer_from_before_there_were_staged_ones_is_read(store: GalleryStore) -> None:
    store.create("g")
    (key,) = store.objects.list(f"{POINTERS}g/")
    assert "staged" not in json.loads(store.objects.get(key))
    assert store.staged("g") == frozenset()


def test_what_was_removed_can_be_brought_back_for_a_week(store: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.writer.KEPT_VERSIONS", 3)
    store.create("g")
    add(store, "g", item(1), item(2))
    store.remove("g", [item(1).id])
    rename_item(store, "g", item(2).id, "another")
    for number in range(3, 9):
        add(store, "g", item(number))
    assert store.versions("g") == (2, 3, 8, 9, 10)  # before the removal and the new label, and the last three
    assert erase_rows(store, "g", store.manifest("g").generation, [item(8).id], "2027-01-01T00:00:00Z")
    store.delete("g")
    restore(store, "g")
    assert {2, 3} <= set(store.versions("g"))
    back = bring_back(store, "g", 2, [item(1).id])
    assert back.added_ids == (item(1).id,)
    (there,) = [row for one, row in zip(*store.load("g")[1:], strict=True) if one.id == item(1).id]
    assert (there == embedding(item(1))).all()
    now = time.time()
    monkeypatch.setattr("infra.galleries.writer.time.time", lambda: now + HELD_S + 60)
    add(store, "g", item(20))
    assert not {2, 3} & set(store.versions("g"))


def test_of_many_removals_the_last_are_held(store: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.writer.KEPT_VERSIONS", 2)
    monkeypatch.setattr("infra.galleries.writer.MOST_HELD", 3)
    store.create("g")
    add(store, "g", *[item(number) for number in range(8)])
    for number in range(7):
        store.remove("g", [item(number).id])
    assert store.versions("g") == (6, 7, 8, 9)

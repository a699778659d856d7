"""Versions that were made to be activated later: known as such until they were in force, whatever happens around them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infra.erasure.rows import erase_rows
from infra.galleries.deleted import restore
from infra.galleries.keys import POINTERS
from infra.galleries.store import GalleryStore
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

"""Items under another label or in another gallery keep what is stored of them, and a death in between loses none."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.errors.galleries import EmbedderMismatch, GalleryNotFound, ItemNotFound, LabelExists
from infra.errors.requests import InvalidRequest
from infra.galleries.corrections import move, rename_item, rename_labels
from infra.galleries.store import MAX_SEGMENTS, GalleryStore, Item, item_id
from infra.objects.local import LocalStore
from tests.infra.galleries.test_crashes import Death, Dying
from tests.infra.gallery_items import add, calibrate, embedding, features, item, prepared, view


def renamed(old: Item, label: str) -> Item:
    return replace(old, label=label, id=item_id(old.sha256, label, old.box))


def require(store: GalleryStore, name: str, expected: dict[Item, Item], version: int | None = None) -> None:
    """The version has exactly these items; the embedding, view and features of each are those of the item that it was."""
    manifest, items, embeddings = store.load(name, version)
    assert set(items) == set(expected)
    assert len(items) == manifest.item_count == len(expected)
    views = store.load_views(name, version)
    packed = store.load_features(name, version)
    for row, one in enumerate(items):
        np.testing.assert_array_equal(embeddings[row], embedding(expected[one]))
        np.testing.assert_allclose(0 * embeddings[row] if views is None else views[row], view(expected[one]), atol=1e-3)
        assert packed.get(one.id, b"") == features(expected[one])


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    """The gallery "g" of three segments of two items each, with the labels 0 to 2, two of each."""
    objects, _ = prepared(tmp_path, 3)
    return GalleryStore(objects)


def test_a_label_gets_another_name_and_back(store: GalleryStore) -> None:
    old = store.items("g")
    before = store.manifest("g")
    done = rename_labels(store, "g", ["label 1"], "tea")
    hers = [one for one in old if one.label == "label 1"]
    assert done.changed == {one.id: renamed(one, "tea").id for one in hers}
    assert (done.duplicates, done.manifest.version, done.manifest.parent) == (0, before.version + 1, before.version)
    new = {(renamed(one, "tea") if one in hers else one): one for one in old}
    require(store, "g", new)
    assert done.manifest.calibration == before.calibration  # only a name changed
    store.activate("g", before.version)
    require(store, "g", {one: one for one in old})
    again = rename_labels(store, "g", ["label 1"], "tea")
    assert again.manifest.version == done.manifest.version + 1
    require(store, "g", new)
    require(store, "g", new, done.manifest.version)


def test_one_item_goes_to_another_label(store: GalleryStore) -> None:
    old = store.items("g")
    done = rename_item(store, "g", old[0].id, old[1].label)
    new = renamed(old[0], old[1].label)
    assert done.changed == {old[0].id: new.id}
    require(store, "g", {new: old[0], **{one: one for one in old[1:]}})
    assert rename_item(store, "g", new.id, new.label).manifest == done.manifest  # it bears it already
    with pytest.raises(ItemNotFound):
        rename_item(store, "g", old[0].id, "tea")


def test_labels_become_one_only_if_that_is_said(store: GalleryStore) -> None:
    old, before = store.items("g"), store.manifest("g")
    for labels, label in (
        (["label 0"], "label 1"),
        (["label 0", "label 1"], "tea"),
        (["label 0", "label 1"], "label 0"),
    ):
        with pytest.raises(LabelExists):
            rename_labels(store, "g", labels, label)
    assert store.manifest("g") == before
    done = rename_labels(store, "g", ["label 0", "label 1"], "label 0", merge=True, calibrate=calibrate)
    assert {one.label for one in store.items("g")} == {"label 0", "label 2"}
    assert len(done.changed) == 4
    require(store, "g", {(renamed(one, "label 0") if one.label == "label 1" else one): one for one in old})
    assert done.manifest.calibration is not None
    assert done.manifest.calibration["labels"] == sorted(["label 0"] * 4 + ["label 2"] * 2)
    total = sum(float(np.abs(embedding(one)).sum()) for one in old)
    assert done.manifest.calibration["sum"] == pytest.approx(total, rel=1e-5)


def test_the_same_picture_under_both_labels_is_one_item_then(store: GalleryStore) -> None:
    (first, *_) = store.items("g")
    duplicate = renamed(first, "tea")
    add(store, "g", duplicate)
    done = rename_labels(store, "g", [first.label], "tea", merge=True)
    assert done.duplicates == 1
    assert done.changed[first.id] == duplicate.id
    assert [one.id for one in store.items("g")].count(duplicate.id) == 1
    assert done.manifest.item_count == 6


def test_what_is_not_there_changes_nothing(store: GalleryStore) -> None:
    before = store.manifest("g")
    with pytest.raises(ItemNotFound, match="'nothing'"):
        rename_labels(store, "g", ["label 1", "nothing"], "tea", merge=True)
    with pytest.raises(GalleryNotFound):
        rename_item(store, "h", "itm_0", "tea")
    assert rename_labels(store, "g", ["label 1"], "label 1").manifest == before
    assert store.manifest("g") == before


def test_many_renamings_keep_the_segments_few(store: GalleryStore) -> None:
    new = {one: one for one in store.items("g")}
    for turn in range(3 * MAX_SEGMENTS):
        one = store.items("g")[turn % 6]
        rename_item(store, "g", one.id, f"turn {turn}")
        new[renamed(one, f"turn {turn}")] = new.pop(one)
    assert len(store.manifest("g").segments) <= MAX_SEGMENTS
    require(store, "g", new)


def test_a_calibration_goes_when_most_items_have_another_label(tmp_path: Path) -> None:
    store = GalleryStore(prepared(tmp_path, 15)[0])
    assert store.manifest("g").calibration is not None
    done = rename_labels(store, "g", ["label 0"], "zero")
    assert done.manifest.calibration is not None
    for one in [one for one in store.items("g") if one.label == "label 1"]:
        done = rename_item(store, "g", one.id, one.label + " too")
    assert done.manifest.calibration is not None
    assert done.manifest.removed_since == 10
    done = rename_labels(store, "g", ["label 2"], "zero", merge=True)
    assert done.manifest.calibration is None


def test_items_move_with_all_that_is_stored_of_them(store: GalleryStore) -> None:
    old = store.items("g")
    store.create("h")
    done = move(store, "g", "h", labels=["label 1"])
    hers = {one: one for one in old if one.label == "label 1"}
    assert (done.moved, done.duplicates, done.source.item_count, done.target.item_count) == (2, 0, 4, 2)
    require(store, "h", hers)
    require(store, "g", {one: one for one in old if one not in hers})
    back = move(store, "h", "g", item_ids=list({one.id for one in hers}))
    assert back.target.item_count == 6
    require(store, "h", {})
    require(store, "g", {one: one for one in old})
    store.activate("g", done.source.version)  # undone again, in both
    store.activate("h", done.target.version)
    require(store, "h", hers)
    require(store, "g", {one: one for one in old if one not in hers})


def test_a_move_that_cannot_be_changes_nothing(store: GalleryStore) -> None:
    store.create("other", "e" * 64)
    store.create("h")
    before = store.manifest("g")
    with pytest.raises(EmbedderMismatch):
        move(store, "g", "other", labels=["label 1"])
    with pytest.raises(ItemNotFound):
        move(store, "g", "h", item_ids=[store.items("g")[0].id, "itm_0"])
    with pytest.raises(ItemNotFound):
        move(store, "h", "g", labels=["label 1"])
    with pytest.raises(GalleryNotFound, match="nothing"):
        move(store, "g", "nothing", labels=["label 1"])
    with pytest.raises(GalleryNotFound, match="nothing"):
        move(store, "nothing", "g", labels=["label 1"])
    with pytest.raises(InvalidRequest):
        move(store, "g", "g", labels=["label 1"])
    assert store.manifest("g") == before
    assert store.manifest("h").version == store.manifest("other").version == 1


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_death_at_any_write_of_a_move_loses_no_item_and_it_can_be_repeated(tmp_path: Path, after: bool) -> None:
    for at in range(1, 100):
        objects, ids = prepared(tmp_path / str(at), 3)
        store = GalleryStore(objects)
        old = store.items("g")
        hers = {one: one for one in old if one.label == "label 1"}
        store.create("h")
        dying = Dying(objects, at, after)
        try:
            move(GalleryStore(dying), "g", "h", labels=["label 1"])
        except Death:
            pass
        else:
            break
        store = GalleryStore(objects)
        assert {one.id for name in "gh" for one in store.items(name)} == ids, f"lost by a death at write {at}"
        if any(one.label == "label 1" for one in store.items("g")):
            move(store, "g", "h", labels=["label 1"])
        require(store, "h", hers)
        require(store, "g", {one: one for one in old if one not in hers})
    assert at > 6, "there are several writes to die at"


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("segments", [3, pytest.param(MAX_SEGMENTS, marks=pytest.mark.slow)])
def test_death_at_any_write_of_a_renaming_leaves_the_old_or_the_new(tmp_path: Path, after: bool, segments: int) -> None:
    for at in range(1, 100):
        objects, _ = prepared(tmp_path / str(at), segments)
        old = GalleryStore(objects).items("g")
        new = {(renamed(one, "tea") if one.label == "label 1" else one): one for one in old}
        try:
            rename_labels(GalleryStore(Dying(objects, at, after)), "g", ["label 1"], "tea")
        except Death:
            pass
        else:
            break
        store = GalleryStore(objects)
        seen = set(store.items("g"))
        assert seen in (set(old), set(new))
        if seen == set(old):
            rename_labels(store, "g", ["label 1"], "tea")
        require(store, "g", new)
    assert at > 3, "there are several writes to die at"


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    store = GalleryStore(LocalStore(tmp_path))
    store.create("g")
    store.create("h")
    add(store, "g", *[item(number, f"label {number}") for number in range(8)])
    errors: list[Exception] = []

    def work(number: int) -> None:
        mine = GalleryStore(LocalStore(tmp_path))
        try:
            if number % 2:
                move(mine, "g", "h", labels=[f"label {number}"])
            else:
                rename_labels(mine, "g", [f"label {number}"], f"new {number}")
            add(mine, "h", item(100 + number, "added"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert {one.label for one in store.items("g")} == {f"new {number}" for number in range(0, 8, 2)}
    assert {one.label for one in store.items("h")} == {"added", *(f"label {number}" for number in range(1, 8, 2))}
    assert store.manifest("h").item_count == 12


def test_an_item_keeps_its_metadata(store: GalleryStore) -> None:
    one = replace(item(77), metadata={"article": "4711"})
    add(store, "g", one)
    store.create("h")
    (new,) = rename_item(store, "g", one.id, "tea").changed.values()
    move(store, "g", "h", item_ids=[new])
    assert [(found.label, found.metadata) for found in store.items("h")] == [("tea", {"article": "4711"})]

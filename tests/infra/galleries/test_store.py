"""Galleries on a folder and on a real S3 server: versions, idempotent adding, what is refused, what is pruned."""

from __future__ import annotations

import dataclasses
import random
import time
from pathlib import Path

import numpy as np
import pytest

from infra.errors.galleries import (
    EmbedderMismatch,
    GalleryExists,
    GalleryNotFound,
    InvalidGalleryName,
    ItemNotFound,
    VersionNotFound,
)
from infra.galleries.deleted import purge_due
from infra.galleries.store import MAX_SEGMENTS, GalleryStore, Item, item_id
from infra.galleries.writer import KEPT_VERSIONS
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore
from infra.runtime.settings import ObjectSettings
from tests.infra.gallery_items import DIGEST, DIM, add, calibrate, check, embedding, features, item, view


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return LocalStore(tmp_path / "objects")
    endpoint, bucket = (request.getfixturevalue(name) for name in ("s3_endpoint", "s3_bucket"))
    return open_store(ObjectSettings(url=f"s3://{bucket}/p", endpoint_url=endpoint), tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return GalleryStore(LocalStore(tmp_path / "objects"))


def test_the_life_of_a_gallery(objects: ObjectStore) -> None:
    store, reader = GalleryStore(objects), GalleryStore(objects)  # the reader sees only what is stored
    assert store.names() == ()
    empty = store.create("drinks")
    assert (empty.version, empty.item_count, empty.embedder_digest, empty.dim) == (1, 0, None, None)
    check(reader, "drinks", set())

    one, two, three, four = (item(number) for number in range(4))  # labels 0 1 2 0
    done = add(store, "drinks", one, two)
    assert done.added_ids == (one.id, two.id)
    assert (done.manifest.version, done.manifest.embedder_digest, done.manifest.dim) == (2, DIGEST, DIM)
    assert reader.manifest("drinks") == done.manifest
    assert add(store, "drinks", three, four).manifest.version == 3
    check(reader, "drinks", {one.id, two.id, three.id, four.id})
    assert reader.items("drinks") == (one, two, three, four)

    removed = store.remove("drinks", item_ids=[two.id])
    assert (removed.version, removed.item_count, removed.tombstones) == (4, 3, (two.id,))
    check(reader, "drinks", {one.id, three.id, four.id})
    assert store.remove("drinks", labels=["label 0"]).item_count == 1
    check(reader, "drinks", {three.id})
    check(reader, "drinks", {one.id, two.id, three.id, four.id}, version=3)

    assert add(store, "drinks", two).added_ids == (two.id,)  # an old tombstone does not hide the new item
    check(reader, "drinks", {two.id, three.id})

    assert store.activate("drinks", 3).version == 3
    check(reader, "drinks", {one.id, two.id, three.id, four.id})
    assert reader.versions("drinks") == (1, 2, 3, 4, 5, 6)
    after = store.remove("drinks", item_ids=[one.id])
    assert (after.version, after.parent) == (7, 3)
    check(reader, "drinks", {two.id, three.id, four.id})
    check(reader, "drinks", {two.id, three.id}, version=6)

    store.create("other")
    assert reader.names() == ("drinks", "other")
    store.delete("drinks")
    assert reader.names() == ("other",)
    for gone in (store, reader):
        with pytest.raises(GalleryNotFound):
            gone.manifest("drinks")
        with pytest.raises(GalleryNotFound):
            gone.load("drinks")
    with pytest.raises(GalleryNotFound):
        store.delete("drinks")
    assert purge_due(store, 0, time.time() + 1) == 1
    assert not list(objects.list("galleries/files/drinks/"))

    again = store.create("drinks")
    assert again.version == 1
    assert again != empty  # a cache that compares manifests notices
    check(reader, "drinks", set())


def test_labels_and_boxes_come_back_as_they_were(objects: ObjectStore) -> None:
    store = GalleryStore(objects)
    store.create("g")
    items = [
        item(1, "红牛 强化型"),
        item(2, 'a "quote", a \\ and a\u00a0blank'),
        item(3, "a", (1, 2, 3, 4)),
        item(3, "a", (1, 2, 3, 5)),
    ]
    add(store, "g", *items)
    assert list(GalleryStore(objects).items("g")) == items


def test_labels_from_before_the_rule_come_back_as_something_readable(objects: ObjectStore) -> None:
    store = GalleryStore(objects)
    store.create("g")
    stored = ["two\nlines and a \u2028 separator", "lone \ud800 surrogate", "\udcbf\udcc9\udcc0\udcd6", "cafe\u0301"]
    add(store, "g", *(item(number, label) for number, label in enumerate(stored)))
    found = [one.label for one in GalleryStore(objects).items("g")]
    assert found == ["two\ufffdlines and a \ufffd separator", "lone \ufffd surrogate", "可乐", "caf\u00e9"]


def test_adding_again_changes_nothing(store: GalleryStore) -> None:
    store.create("g")
    one, two = item(1), item(2)
    first = add(store, "g", one, two, one)
    assert (first.added_ids, first.duplicate_ids) == ((one.id, two.id), (one.id,))
    again = add(store, "g", two, one)
    assert (again.manifest, again.added_ids, again.duplicate_ids) == (first.manifest, (), (two.id, one.id))
    three = item(3)
    mixed = add(store, "g", two, three)
    assert (mixed.added_ids, mixed.duplicate_ids) == ((three.id,), (two.id,))
    nothing = store.add("g", (), np.empty((0, DIM), np.float32), DIGEST)
    assert (nothing.manifest, nothing.added_ids) == (mixed.manifest, ())
    check(store, "g", {one.id, two.id, three.id})


def test_an_id_follows_from_the_content() -> None:
    same = item_id("ab", "tea", (1, 2, 3, 4))
    assert same == item_id("ab", "tea", [1, 2, 3, 4])
    others = {item_id("ab", "tea"), item_id("ac", "tea"), item_id("ab", "te"), item_id("ab", "tea", (1, 2, 3, 5)), same}
    assert len(others) == 5
    assert item_id("ab", 'a", "b') != item_id('ab", "a', "b")


def test_what_does_not_fit_is_refused(store: GalleryStore) -> None:
    store.create("g")
    one, two = item(1), item(2)
    row = np.ones((1, DIM), np.float32)
    for items, rows in [
        ([one, two], row),
        ([one], row[0]),
        ([one], np.full((1, DIM), np.nan, np.float32)),
        ([one], np.empty((1, 0), np.float32)),
        ([dataclasses.replace(one, label="other")], row),
    ]:
        with pytest.raises(ValueError, match=r"embedding|id does not follow"):
            store.add("g", items, rows, DIGEST)
    with pytest.raises(ValueError, match="views"):
        store.add("g", [one], row, DIGEST, views=row[:, 1:])
    with pytest.raises(ValueError, match="features"):
        store.add("g", [one], row, DIGEST, features=[b"a", b"b"])
    assert store.versions("g") == (1,)


def test_embeddings_of_different_models_never_mix(store: GalleryStore) -> None:
    store.create("g")
    add(store, "g", item(1))
    with pytest.raises(EmbedderMismatch):
        add(store, "g", item(2), digest="e" * 64)
    with pytest.raises(EmbedderMismatch):
        store.add("g", [item(2)], np.ones((1, DIM + 1), np.float32), DIGEST)
    check(store, "g", {item(1).id})
    store.create("fixed", embedder_digest=DIGEST)
    with pytest.raises(EmbedderMismatch):
        add(store, "fixed", item(2), digest="e" * 64)
    add(store, "fixed", item(2))


def test_unknown_things_are_reported(store: GalleryStore) -> None:
    with pytest.raises(GalleryNotFound):
        add(store, "g", item(1))
    store.create("g")
    with pytest.raises(GalleryExists):
        store.create("g")
    add(store, "g", item(1))
    for ids, labels in ((["itm_none"], []), ([], ["none"]), ([item(1).id], ["none"])):
        with pytest.raises(ItemNotFound):
            store.remove("g", ids, labels)
    for version in (0, 3, -1):
        with pytest.raises(VersionNotFound):
            store.manifest("g", version)
        with pytest.raises(VersionNotFound):
            store.activate("g", version)
    assert store.remove("g").version == 2  # nothing requested, nothing changed
    check(store, "g", {item(1).id})


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", ".a", "a b", "a" * 64, "ä", "a\n", "a\0"])
def test_a_name_that_is_none_is_refused(store: GalleryStore, name: str) -> None:
    for method in (store.create, store.manifest, store.items, store.load, store.delete, store.remove, store.versions):
        with pytest.raises(InvalidGalleryName):
            method(name)
    with pytest.raises(InvalidGalleryName):
        store.activate(name, 1)


def test_many_small_segments_become_one(store: GalleryStore, tmp_path: Path) -> None:
    store.create("g")
    items = [item(number) for number in range(MAX_SEGMENTS + 2)]
    for one in items[:MAX_SEGMENTS]:
        add(store, "g", one)
    assert len(store.manifest("g").segments) == MAX_SEGMENTS
    store.remove("g", item_ids=[items[3].id])  # a segment without items is dropped at once
    assert len(store.manifest("g").segments) == MAX_SEGMENTS - 1
    add(store, "g", items[-1], items[3])
    store.remove("g", item_ids=[items[-1].id])
    before = {one.id for one in store.items("g")}
    merged = add(store, "g", items[-2]).manifest
    assert len(merged.segments) == 1
    assert merged.tombstones == ()
    check(GalleryStore(LocalStore(tmp_path / "objects")), "g", before | {items[-2].id})
    check(store, "g", {one.id for one in items[:5]}, version=6)  # old versions still have their old segments


def test_a_large_segment_is_not_read_where_small_ones_are_joined(store: GalleryStore, tmp_path: Path) -> None:
    store.create("g")
    first = add(store, "g", *[item(number) for number in range(100)]).manifest.segments[0]
    for number in range(100, 99 + MAX_SEGMENTS):
        add(store, "g", item(number))
    (rows,) = tmp_path.glob(f"objects/galleries/files/g/*/segments/{first.id}.npy")
    rows.rename(tmp_path / "gone")  # whoever reads it fails
    last = item(1000)
    merged = store.add(
        "g", [last], embedding(last)[None], DIGEST, view(last)[None], [features(last)]
    ).manifest  # without a fit, which reads all
    (tmp_path / "gone").rename(rows)
    assert [one.item_count for one in merged.segments] == [100, MAX_SEGMENTS]
    check(store, "g", {item(number).id for number in (*range(99 + MAX_SEGMENTS), 1000)})


def test_features_of_large_galleries_are_not_kept(store: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.store.MOST_WITH_FEATURES", MAX_SEGMENTS)

    def put(number: int) -> dict[str, bytes]:
        one = item(number)
        store.add("g", [one], embedding(one)[None], DIGEST, None, [b"features"])
        return store.load_features("g")

    store.create("g")
    for number in range(MAX_SEGMENTS):
        assert len(put(number)) == number + 1
    store.remove("g", item_ids=[item(0).id])
    assert len(put(MAX_SEGMENTS)) == MAX_SEGMENTS  # as many as may have them
    assert len(store.manifest("g").segments) == MAX_SEGMENTS
    assert put(MAX_SEGMENTS + 1) == {}  # the merge joined none
    assert len(store.manifest("g").segments) == 1
    assert put(MAX_SEGMENTS + 2) == {}


def test_a_calibration_follows_its_items(store: GalleryStore) -> None:
    store.create("g")
    assert store.manifest("g").calibration is None
    one, two, three = (item(number) for number in range(3))  # labels 0 1 2
    assert add(store, "g", one, two).manifest.calibration == calibrate(
        ["label 0", "label 1"], np.stack([embedding(one), embedding(two)]), None
    )
    first = store.manifest("g").calibration
    second = add(store, "g", three).manifest.calibration
    assert second is not None
    assert second["labels"] == ["label 0", "label 1", "label 2"]
    assert add(store, "g", three).manifest.version == 3  # nothing new, nothing fitted
    assert store.remove("g", item_ids=[three.id]).calibration is None  # too little is left
    fitted = store.remove("g", item_ids=[two.id], calibrate=calibrate).calibration
    assert fitted is not None
    assert fitted["labels"] == ["label 0"]
    assert store.remove("g", item_ids=[one.id]).calibration is None
    assert store.activate("g", 2).calibration == first


def test_a_calibration_that_fails_leaves_the_gallery_as_it_was(store: GalleryStore) -> None:
    store.create("g")

    def fails(*_: object) -> dict[str, object]:
        raise RuntimeError("no fit")

    with pytest.raises(RuntimeError, match="no fit"):
        store.add("g", [item(1)], embedding(item(1))[None], DIGEST, calibrate=fails)
    assert store.versions("g") == (1,)
    add(store, "g", item(1))
    check(store, "g", {item(1).id})


def test_old_versions_go_and_their_files_with_them(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    store = GalleryStore(objects)
    store.create("g")
    for number in range(KEPT_VERSIONS + 2 * MAX_SEGMENTS):
        add(store, "g", item(number))
    versions = store.versions("g")
    assert len(versions) == KEPT_VERSIONS
    for version in versions:
        check(store, "g", {item(number).id for number in range(version - 1)}, version)
    with pytest.raises(VersionNotFound):
        store.manifest("g", versions[0] - 1)
    manifests = list(objects.list(f"galleries/files/g/{store.manifest('g').generation}/manifests/"))
    assert len(manifests) <= KEPT_VERSIONS + MAX_SEGMENTS  # pruned at each merge
    assert len(list(objects.list("galleries/current/"))) == 1


@pytest.mark.parametrize("keyed_from", [1, 250])
def test_random_changes_agree_with_a_dictionary(
    keyed_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.galleries.writer.KEYED_FROM", keyed_from)
    dice = random.Random(7)
    objects = LocalStore(tmp_path)
    store = GalleryStore(objects)
    store.create("g")
    state: dict[str, Item] = {}
    history: dict[int, set[str]] = {1: set()}
    for _ in range(100):
        action = dice.choice(["add", "add", "add", "remove", "label", "activate"])
        if action == "add":
            some = [item(dice.randrange(40)) for _ in range(dice.randint(1, 4))]
            done = add(store, "g", *some)
            assert set(done.added_ids) == {one.id for one in some} - state.keys()
            state.update({one.id: one for one in some})
        elif action == "remove" and state:
            gone = dice.sample(sorted(state), dice.randint(1, min(3, len(state))))
            store.remove("g", item_ids=gone)
            state = {key: one for key, one in state.items() if key not in gone}
        elif action == "label" and state and dice.random() < 0.3:
            label = dice.choice(sorted({one.label for one in state.values()}))
            store.remove("g", labels=[label])
            state = {key: one for key, one in state.items() if one.label != label}
        elif action == "activate" and dice.random() < 0.5:
            version = dice.choice(store.versions("g"))
            store.activate("g", version)
            by_id = {item(number).id: item(number) for number in range(40)}
            state = {key: by_id[key] for key in history[version]}
        history[store.manifest("g").version] = set(state)
        check(GalleryStore(objects), "g", set(state))
    assert max(history) > MAX_SEGMENTS

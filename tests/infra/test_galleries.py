"""Galleries on a folder and on a real S3 server: versions, idempotent adding, crashes at every write, corrupt files."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.errors import (
    EmbedderMismatch,
    GalleryBusy,
    GalleryCorrupt,
    GalleryExists,
    GalleryNotFound,
    InvalidGalleryName,
    ItemNotFound,
    VersionNotFound,
)
from infra.galleries import KEPT_VERSIONS, MAX_SEGMENTS, GalleryStore, Item, item_id
from infra.gallery_files import Segment, decode_embeddings, segment_keys
from infra.objects import LocalStore, ObjectStore, open_store
from infra.settings import ObjectSettings
from tests.infra.gallery_items import DIGEST, DIM, add, check, embedding, item
from tests.infra.s3_server import CREDENTIALS, new_bucket, s3_server


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "folder":
        return LocalStore(tmp_path / "objects")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    endpoint = request.getfixturevalue("s3_endpoint")
    return open_store(ObjectSettings(url=f"s3://{new_bucket(endpoint)}/p", endpoint_url=endpoint), tmp_path)


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
    assert not list(objects.list("galleries/files/drinks/"))
    with pytest.raises(GalleryNotFound):
        store.delete("drinks")

    again = store.create("drinks")
    assert again.version == 1
    assert again != empty  # a cache that compares manifests notices
    check(reader, "drinks", set())


def test_labels_and_boxes_come_back_as_they_were(objects: ObjectStore) -> None:
    store = GalleryStore(objects)
    store.create("g")
    items = [
        item(1, "红牛 强化型"),
        item(2, 'two\nlines, a "quote" and a \u2028 separator'),
        item(3, "a", (1, 2, 3, 4)),
        item(3, "a", (1, 2, 3, 5)),
        item(4, "lone \ud800 surrogate"),
    ]
    add(store, "g", *items)
    assert list(GalleryStore(objects).items("g")) == items


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


def test_unknown_things_are_told(store: GalleryStore) -> None:
    with pytest.raises(GalleryNotFound):
        add(store, "g", item(1))
    store.create("g")
    with pytest.raises(GalleryExists):
        store.create("g")
    add(store, "g", item(1))
    for arguments in ({"item_ids": ["itm_none"]}, {"labels": ["none"]}, {"item_ids": [item(1).id], "labels": ["none"]}):
        with pytest.raises(ItemNotFound):
            store.remove("g", **arguments)
    for version in (0, 3, -1):
        with pytest.raises(VersionNotFound):
            store.manifest("g", version)
        with pytest.raises(VersionNotFound):
            store.activate("g", version)
    assert store.remove("g").version == 2  # nothing asked, nothing changed
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


class Death(BaseException):
    """The process ends here."""


class Dying:
    """A store in a process that dies at its n-th change, just before it or just after it; afterwards nothing works."""

    def __init__(self, objects: ObjectStore, at: int, after: bool) -> None:
        self._objects, self._left, self._after = objects, at, after
        self.dead = False

    def _change(self, change: Callable[[], None]) -> None:
        self._alive()
        self._left -= 1
        if self._left == 0:
            self.dead = True
            if self._after:
                change()
            raise Death
        change()

    def _alive(self) -> None:
        if self.dead:
            raise Death

    def put(self, key: str, data: bytes) -> None:
        self._change(lambda: self._objects.put(key, data))

    def delete(self, key: str) -> None:
        self._change(lambda: self._objects.delete(key))

    def get(self, key: str) -> bytes:
        self._alive()
        return self._objects.get(key)

    def exists(self, key: str) -> bool:
        self._alive()
        return self._objects.exists(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        self._alive()
        return self._objects.list(prefix)

    def put_image(self, image_bytes: bytes) -> str:
        return self._objects.put_image(image_bytes)


def _prepared(folder: Path, segments: int) -> tuple[LocalStore, set[str]]:
    objects = LocalStore(folder)
    store = GalleryStore(objects)
    store.create("g")
    for number in range(segments):
        add(store, "g", item(number), item(1000 + number))
    return objects, {one.id for one in store.items("g")}


CHANGES: dict[str, tuple[int, Callable[[GalleryStore], Any]]] = {
    "add": (3, lambda store: add(store, "g", item(100), item(101))),
    "add and merge": (MAX_SEGMENTS, lambda store: add(store, "g", item(100), item(101))),
    "remove": (3, lambda store: store.remove("g", item_ids=[item(1).id])),
    "activate": (3, lambda store: store.activate("g", 2)),
    "delete": (3, lambda store: store.delete("g")),
}


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("change", CHANGES)
def test_death_at_any_write_leaves_the_old_or_the_new(tmp_path: Path, change: str, after: bool) -> None:
    segments, make = CHANGES[change]
    objects, old = _prepared(tmp_path / "whole", segments)
    make(GalleryStore(objects))
    new = {one.id for one in GalleryStore(objects).items("g")} if change != "delete" else None
    for at in range(1, 1000):
        objects, old = _prepared(tmp_path / str(at), segments)
        dying = Dying(objects, at, after)
        try:
            make(GalleryStore(dying))
        except Death:
            pass
        else:
            assert not dying.dead
            break
        reader = GalleryStore(objects)
        seen = None if "g" not in reader.names() else {one.id for one in reader.items("g")}
        assert seen in (old, new), f"neither old nor new after a death at write {at}"
        if seen is not None:
            check(reader, "g", seen)
            for version in reader.versions("g"):
                reader.load("g", version)
        else:
            reader.create("g")  # what the dead writer left hinders nobody
            assert len(list(objects.list("galleries/files/g/"))) == 1
        last = item(555)
        add(reader, "g", last)
        check(GalleryStore(objects), "g", (seen or set()) | {last.id})
    assert at > 2, "the change has several writes to die at"


def test_a_creation_that_died_can_be_repeated(tmp_path: Path) -> None:
    for at in (1, 2):
        objects = LocalStore(tmp_path / str(at))
        with pytest.raises(Death):
            GalleryStore(Dying(objects, at, after=False)).create("g")
        assert GalleryStore(objects).names() == ()
        GalleryStore(objects).create("g")
        check(GalleryStore(objects), "g", set())


def test_a_delete_that_died_is_finished_by_the_next(tmp_path: Path) -> None:
    objects, _ = _prepared(tmp_path, 3)
    with pytest.raises(Death):
        GalleryStore(Dying(objects, 4, after=True)).delete("g")
    store = GalleryStore(objects)
    assert store.names() == ()
    assert list(objects.list("galleries/files/g/"))
    with pytest.raises(GalleryNotFound):
        store.delete("g")
    assert not list(objects.list("galleries/files/g/"))


def _flip(data: bytes) -> bytes:
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


def test_a_changed_or_missing_file_is_noticed(tmp_path: Path) -> None:
    for kind in ("segments/*.jsonl", "segments/*.npy"):
        for number, spoil in enumerate((_flip, lambda data: data[:-3], lambda data: data[:0], None)):
            folder = tmp_path / kind[-3:] / str(number)
            objects, _ = _prepared(folder, 2)
            path = next((folder / "galleries" / "files" / "g").glob(f"*/{kind}"))
            if spoil is None:
                path.unlink()
            else:
                path.write_bytes(spoil(path.read_bytes()))
            with pytest.raises(GalleryCorrupt):
                GalleryStore(objects).load("g")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"schema": 2}', b'{"schema": 1}', b"\xff"])
def test_a_pointer_or_manifest_that_is_none_is_noticed(tmp_path: Path, content: bytes) -> None:
    for which in ("current/g/*", "files/g/*/manifests/*"):
        objects, _ = _prepared(tmp_path / which[:5], 1)
        for path in (tmp_path / which[:5] / "galleries").glob(which):
            path.write_bytes(content)
        with pytest.raises(GalleryCorrupt):
            GalleryStore(objects).manifest("g")


def test_nothing_in_the_embeddings_is_run() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (pytest.fail, ("unpickled",))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], object), allow_pickle=True)
    data = buffer.getvalue()
    segment = Segment("1-1", 1, "", hashlib.sha256(data).hexdigest())
    with pytest.raises(GalleryCorrupt):
        decode_embeddings("g", segment, 1, data)


def test_the_files_are_plain(tmp_path: Path) -> None:
    objects, _ = _prepared(tmp_path, 1)
    manifest = GalleryStore(objects).manifest("g")
    items_key, rows_key = segment_keys("g", manifest.generation, manifest.segments[0].id)
    lines = [json.loads(line) for line in objects.get(items_key).splitlines()]
    assert [line["label"] for line in lines] == ["label 0", "label 1"]
    assert np.load(tmp_path / rows_key, allow_pickle=False).shape == (2, DIM)


def test_threads_that_add_together_lose_nothing(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    GalleryStore(objects).create("g")
    shared, failures = GalleryStore(objects), []

    def write(start: int) -> None:
        store = shared if start % 20 else GalleryStore(objects)  # another store object is like another process
        try:
            for number in range(start, start + 5):
                add(store, "g", item(number))
        except BaseException as error:  # told by the main thread
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


def test_random_changes_agree_with_a_dictionary(tmp_path: Path) -> None:
    dice = random.Random(7)
    objects = LocalStore(tmp_path)
    store = GalleryStore(objects)
    store.create("g")
    state: dict[str, Item] = {}
    history: dict[int, set[str]] = {1: set()}
    for _ in range(150):
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


def test_a_writer_that_waits_too_long_is_told(tmp_path: Path) -> None:
    store = GalleryStore(LocalStore(tmp_path))
    store.create("g")
    store._local._wait_s = 0.05
    with GalleryStore(LocalStore(tmp_path))._writing("g"), pytest.raises(GalleryBusy) as busy:
        store.remove("g")
    assert busy.value.retryable

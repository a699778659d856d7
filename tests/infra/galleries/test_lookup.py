"""Items are found by the keys of their segments, whether these have files of them or not, and without reading the items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.errors.galleries import GalleryCorrupt, ItemNotFound
from infra.galleries.files import GalleryManifest, encode_manifest
from infra.galleries.keys import KEYS, extra_key, manifest_key, segment_keys
from infra.galleries.lookup import count_labels, find, in_segment, known
from infra.galleries.segments import SegmentFiles
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from infra.objects.store import ObjectStore
from tests.infra.gallery_items import DIGEST, Remote, add, check, embedding, item

ITEMS = [item(number) for number in range(40)]


@pytest.fixture(params=[True, False], ids=["folder", "bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    folder = LocalStore(tmp_path / "objects")
    return folder if request.param else Remote(folder)


@pytest.fixture(params=[1, 250], ids=["keys in files", "keys of items"])
def store(request: pytest.FixtureRequest, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> GalleryStore:
    monkeypatch.setattr("infra.galleries.writer.KEYED_FROM", request.param)
    store = GalleryStore(objects)
    store.create("g")
    add(store, "g", *ITEMS[:30])
    add(store, "g", *ITEMS[30:])
    return GalleryStore(objects)


def test_what_is_removed_is_not_found_until_it_is_added_again(store: GalleryStore) -> None:
    store.remove("g", item_ids=[ITEMS[3].id, ITEMS[35].id])
    manifest = store.manifest("g")
    ids = [one.id for one in ITEMS]
    gone = {ITEMS[3].id, ITEMS[35].id}
    assert known(store, manifest, [*ids, item(99).id, "none"]) == set(ids) - gone
    assert find(store, manifest, [ITEMS[3].id, ITEMS[4].id, ITEMS[36].id]) == {
        ITEMS[4].id: ITEMS[4],
        ITEMS[36].id: ITEMS[36],
    }
    again = add(store, "g", ITEMS[3], ITEMS[4])
    assert (again.added_ids, again.duplicate_ids) == ((ITEMS[3].id,), (ITEMS[4].id,))
    assert find(store, again.manifest, [ITEMS[3].id]) == {ITEMS[3].id: ITEMS[3]}
    check(store, "g", set(ids) - {ITEMS[35].id})


def test_labels_and_ids_together(store: GalleryStore) -> None:
    store.remove("g", item_ids=[ITEMS[0].id])
    manifest = store.manifest("g")
    found = in_segment(store, manifest, manifest.segments[0], [ITEMS[5].id, ITEMS[0].id], ["label 0", "label 9"])
    wanted = [one.id for one in ITEMS[1:30] if one.label == "label 0" or one is ITEMS[5]]
    assert (found.ids, found.labels) == (tuple(wanted), ("label 0",))
    assert count_labels(store, manifest, 9) == 3
    assert count_labels(store, manifest, 2) == 2
    left = store.remove("g", item_ids=[ITEMS[1].id], labels=["label 0"])
    assert count_labels(store, left, 9) == 2
    check(store, "g", {one.id for one in ITEMS if one.label != "label 0" and one is not ITEMS[1]})
    with pytest.raises(ItemNotFound):
        store.remove("g", labels=["label 1", "label 0"])
    assert store.manifest("g") == left
    assert store.remove("g", labels=["label 1", "label 2"]).segments == ()


def test_an_item_of_an_older_label_is_not_added_twice_and_goes_with_its_label(store: GalleryStore) -> None:
    older, readable = item(77, "tea\n"), item(77, "tea")  # the first is read as the second, with the id that it has
    add(store, "g", older)
    assert older.id != readable.id
    assert add(GalleryStore(store.objects), "g", readable).added_ids == ()
    store.remove("g", labels=["tea"])
    assert {one.id for one in store.items("g")} == {one.id for one in ITEMS}
    assert add(store, "g", readable).added_ids == (readable.id,)


@pytest.fixture
def keyed(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> GalleryStore:
    """A gallery of one segment with a file of keys."""
    monkeypatch.setattr("infra.galleries.writer.KEYED_FROM", 1)
    monkeypatch.setattr("infra.galleries.segments.MAPPED_FROM", 1)
    store = GalleryStore(objects)
    store.create("g")
    add(store, "g", *ITEMS)
    return GalleryStore(objects)


def key_file(manifest: GalleryManifest) -> str:
    return extra_key("g", manifest.generation, manifest.segments[0].id, KEYS)


def test_with_a_file_of_keys_no_item_is_read_to_add_or_remove(
    keyed: GalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("all items are read")

    monkeypatch.setattr("infra.galleries.reader.decode_items", refuse)
    new = item(500)
    rows = np.stack([embedding(new), embedding(ITEMS[7])])
    done = keyed.add("g", [new, ITEMS[7]], rows, DIGEST)
    assert (done.added_ids, done.duplicate_ids) == ((new.id,), (ITEMS[7].id,))
    keyed.remove("g", item_ids=[ITEMS[7].id], labels=["label 0"])
    monkeypatch.undo()
    left = {one.id for one in [*ITEMS, new] if one.label != "label 0" and one is not ITEMS[7]}
    assert {one.id for one in keyed.items("g")} == left


@pytest.mark.parametrize("damage", [None, b"", b"nonsense"])
def test_without_a_sound_file_of_keys_the_items_are_read(
    damage: bytes | None, keyed: GalleryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_file(keyed.manifest("g"))
    if damage is None:
        keyed.objects.delete(key)
    else:
        keyed.objects.put(key, damage)
    done = add(keyed, "g", ITEMS[7], item(500))
    assert (done.added_ids, done.duplicate_ids) == ((item(500).id,), (ITEMS[7].id,))
    assert ("damaged file of keys" in caplog.text) is (damage is not None)
    segment = SegmentFiles(keyed, tmp_path / "cache").segment(done.manifest, done.manifest.segments[0])
    alive = segment.alive([ITEMS[7].id, "none"])
    assert alive is not None
    assert alive.tolist() == [one is not ITEMS[7] for one in ITEMS]


def test_keys_of_other_items_are_not_taken(keyed: GalleryStore) -> None:
    """Whoever could exchange the file alone is found out by the manifest."""
    other = GalleryStore(keyed.objects)
    other.create("h")
    add(other, "h", *[item(number) for number in range(100, 140)])
    of_others = other.manifest("h")
    theirs = extra_key("h", of_others.generation, of_others.segments[0].id, KEYS)
    keyed.objects.put(key_file(keyed.manifest("g")), keyed.objects.get(theirs))
    assert add(keyed, "g", ITEMS[7]).duplicate_ids == (ITEMS[7].id,)


def test_a_gallery_of_an_earlier_release_is_searched_and_changed_alike(keyed: GalleryStore) -> None:
    """Its manifests name no file of keys."""
    manifest = keyed.manifest("g")
    earlier = replace(manifest, segments=tuple(replace(one, files={}) for one in manifest.segments))
    keyed.objects.put(manifest_key("g", manifest.generation, manifest.id), encode_manifest(earlier))
    keyed.objects.delete(key_file(manifest))
    store = GalleryStore(keyed.objects)
    store.remove("g", labels=["label 1"])
    assert set(add(store, "g", ITEMS[0], ITEMS[1]).added_ids) == {ITEMS[1].id}


def test_few_keys_are_kept_at_a_time(keyed: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.key_files.MOST_KEPT", 2)
    for number in range(100, 106):
        add(keyed, "g", item(number))
    assert len(keyed._keys._kept) <= 2
    check(keyed, "g", {one.id for one in [*ITEMS, *map(item, range(100, 106))]})


@pytest.mark.parametrize("spoil", [lambda data: data[:-9] + b"123456}}\n", lambda data: data[:0]])
def test_changed_items_are_noticed(keyed: GalleryStore, spoil: Callable[[bytes], bytes]) -> None:
    manifest = keyed.manifest("g")
    key = segment_keys("g", manifest.generation, manifest.segments[0].id)[0]
    keyed.objects.put(key, spoil(keyed.objects.get(key)))
    with pytest.raises(GalleryCorrupt):
        find(keyed, manifest, [ITEMS[7].id])
    assert find(keyed, manifest, [item(500).id]) == {}

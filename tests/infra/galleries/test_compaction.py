"""Large files are joined after an addition is in force, while others write; whatever comes between, nothing is lost."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.erasure.rows import erase_rows
from infra.errors.galleries import GalleryBusy
from infra.galleries.compaction import compact
from infra.galleries.store import MAX_SEGMENTS, MOST_WITH_FEATURES, GalleryStore
from infra.objects.local import LocalStore
from tests.infra.galleries.test_crashes import Death, Dying
from tests.infra.gallery_items import DIGEST, add, check, embedding, item

ITEMS = [item(number) for number in range(100)]
LATER = "9999-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def small_ones_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.compaction.JOINED_AT_ONCE", 0)
    monkeypatch.setattr("infra.galleries.writer.KEYED_FROM", 1)


@pytest.fixture
def objects(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def store(objects: LocalStore) -> GalleryStore:
    """As many segments as are had without joining, of two items each."""
    return filled(objects)


def filled(objects: LocalStore) -> GalleryStore:
    store = GalleryStore(objects)
    store.create("g")
    for at in range(MAX_SEGMENTS):
        add(store, "g", *ITEMS[2 * at : 2 * at + 2])
    return store


def files(objects: LocalStore) -> set[str]:
    return {key for key in objects.list("galleries/files/g/") if "/segments/" in key}


def held(count: int) -> set[str]:
    return {one.id for one in ITEMS[:count]}


def test_an_addition_is_in_force_before_files_are_joined(
    store: GalleryStore, objects: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    reader = GalleryStore(objects)

    def joined(of: GalleryStore, name: str, most: int) -> Any:
        manifest = reader.manifest("g")
        seen.extend((manifest.version, manifest.item_count, len(manifest.segments)))
        return compact(of, name, most)

    monkeypatch.setattr("infra.galleries.store.compact", joined)
    added = add(store, "g", item(500))
    version = added.manifest.version
    assert seen == [version, 2 * MAX_SEGMENTS + 1, MAX_SEGMENTS + 1]
    assert [one.item_count for one in added.manifest.segments] == [2 * MAX_SEGMENTS + 1]
    assert reader.manifest("g") == added.manifest
    check(GalleryStore(objects), "g", held(2 * MAX_SEGMENTS) | {item(500).id})
    check(GalleryStore(objects), "g", held(2 * MAX_SEGMENTS), version=version - 1)
    assert store.undo("g").version == version - 1
    store.activate("g", version)
    check(store, "g", held(2 * MAX_SEGMENTS) | {item(500).id})


def test_of_many_additions_few_begin_to_join(store: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr("infra.galleries.store.compact", lambda *_: begun.append(len(store.manifest("g").segments)))
    for number in range(500, 520):
        add(store, "g", item(number))
    assert begun == [17, 25, 33]
    assert len(store.manifest("g").segments) == MAX_SEGMENTS + 20


def test_versions_that_are_not_in_force_are_left_as_they_are(store: GalleryStore) -> None:
    staged = store.add("g", [item(500)], embedding(item(500))[None], DIGEST, activate=False).manifest
    assert len(staged.segments) == MAX_SEGMENTS + 1
    assert store.manifest("g").version == staged.version - 1


GONE = ITEMS[5]  # from a file that keeps another item
NEW = ITEMS[33]  # the seventeenth file
FULL = (held(32) | {NEW.id}) - {GONE.id}
BETWEEN: dict[str, tuple[Callable[[GalleryStore], Any], set[str], bool]] = {
    "nothing": (lambda _: None, FULL, True),
    "an addition": (lambda store: add(store, "g", ITEMS[40]), FULL | {ITEMS[40].id}, True),
    "a removal": (lambda store: store.remove("g", [ITEMS[3].id]), FULL - {ITEMS[3].id}, True),
    "the removal of a whole file": (
        lambda store: store.remove("g", [ITEMS[2].id, ITEMS[3].id]),
        FULL - {ITEMS[2].id, ITEMS[3].id},
        False,
    ),
    "a removal undone": (lambda store: store.undo("g"), FULL | {GONE.id}, False),
    "another join": (lambda store: compact(store, "g", MOST_WITH_FEATURES), FULL, False),
    "the gallery's end": (lambda store: store.delete("g"), set(), False),
    "a dead writer's files swept away": (lambda store: store._prune("g", 1 << 62), FULL, False),
}


@pytest.mark.parametrize("change", BETWEEN)
def test_what_happens_while_files_are_joined_is_kept(
    change: str, store: GalleryStore, objects: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    between, expected, replaced = BETWEEN[change]
    with monkeypatch.context() as patch:
        patch.setattr("infra.galleries.store.compact", lambda *_: None)
        add(store, "g", NEW)
        store.remove("g", [GONE.id])
    real = store._write_segment

    def write(*arguments: Any) -> Any:
        done = real(*arguments)
        with monkeypatch.context() as patch:  # the other one is as one whose right to join has not been lost
            patch.setattr(GalleryStore, "_joining", lambda *_: contextlib.nullcontext(lambda: None))
            between(GalleryStore(objects))
        return done

    monkeypatch.setattr(store, "_write_segment", write)
    made = compact(store, "g", MOST_WITH_FEATURES)
    assert (made is not None) is replaced
    if change == "the gallery's end":
        assert store.names() == ()
        return
    check(GalleryStore(objects), "g", expected)
    if made is not None:
        assert made == store.manifest("g")
        assert made.version == MAX_SEGMENTS + 3 + (change != "nothing")
        assert made.tombstones == ((ITEMS[3].id,) if change == "a removal" else ())
    named = {one.id for version in store.versions("g") for one in store.manifest("g", version).segments}
    assert {key.rpartition("/")[2].partition(".")[0] for key in files(objects)} == named  # nothing is left over


def test_what_is_erased_meanwhile_waits_for_the_join_and_goes(
    store: GalleryStore, objects: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = store.manifest("g").generation
    other = GalleryStore(objects)
    other._local._wait_s = 0.05
    with store._joining("g"), pytest.raises(GalleryBusy):
        erase_rows(other, "g", generation, [ITEMS[3].id], LATER)
    assert erase_rows(other, "g", generation, [ITEMS[4].id], LATER) > 0
    add(store, "g", item(500))
    for version in store.versions("g"):
        assert ITEMS[4].id not in {one.id for one in store.items("g", version)}


def test_who_lost_the_right_to_join_writes_nothing(
    store: GalleryStore, objects: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("infra.galleries.store.compact", lambda *_: None)
        add(store, "g", NEW)

    def lost() -> None:
        raise GalleryBusy("lost")

    before = files(objects)
    monkeypatch.setattr(store, "_joining", lambda _: contextlib.nullcontext(lost))
    with pytest.raises(GalleryBusy):
        compact(store, "g", MOST_WITH_FEATURES)
    assert files(objects) == before


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_death_at_any_write_loses_nothing_and_the_next_join_tidies_up(after: bool, tmp_path: Path) -> None:
    whole = held(2 * MAX_SEGMENTS) | {NEW.id}
    filled(LocalStore(tmp_path / "whole"))
    for at in range(1, 1000):
        objects = LocalStore(shutil.copytree(tmp_path / "whole", tmp_path / str(at)))
        dying = Dying(objects, at, after)
        try:
            add(GalleryStore(dying), "g", NEW)
        except Death:
            pass
        else:
            assert not dying.dead
            break
        store = GalleryStore(objects)
        seen = {one.id for one in store.items("g")}
        assert seen in (whole, whole - {NEW.id})
        for version in store.versions("g"):
            store.load("g", version)
        before = len(store.manifest("g").segments)
        made = compact(store, "g", MOST_WITH_FEATURES)
        assert (made is None) is (before <= MAX_SEGMENTS)
        check(GalleryStore(objects), "g", seen)
        if made is not None:
            named = {one.id for version in store.versions("g") for one in store.manifest("g", version).segments}
            assert {key.rpartition("/")[2].partition(".")[0] for key in files(objects)} == named
    assert at > 12, "the addition and the join have several writes to die at"

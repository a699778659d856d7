"""Erased items are nowhere below the store's folder any more; whoever dies in between, the next one finishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from infra.erasure.eraser import Eraser
from infra.errors.galleries import ErasureNotFound, ItemNotFound
from infra.galleries.corrections import rename_item
from infra.galleries.deleted import all_deleted, purge_due, restore
from infra.galleries.feedback import GalleryFeedback
from infra.galleries.store import GalleryStore, Item, item_id
from infra.jobs.ledger import JobLedger
from infra.jobs.photos import Photos
from infra.objects.local import LocalStore
from infra.objects.store import ObjectStore, preview_key
from tests.infra.galleries.test_crashes import Death, Dying
from tests.infra.gallery_items import add, check, embedding, features, item, view

Open = Callable[[ObjectStore], Eraser]


@pytest.fixture
def opened(redis_client: redis.Redis) -> Open:
    """An eraser of a store, to which every picture is old."""
    return lambda objects: Eraser(GalleryStore(objects), redis_client, JobLedger(redis_client), -9, 1000)


def pictured(objects: ObjectStore, number: int, label: str = "") -> Item:
    """An item whose picture is stored, with a preview."""
    data = f"the picture number {number}.".encode() * 20
    key = objects.put_image(data)
    objects.put(preview_key(key), b"as a JPEG: " + data)
    made, sha256 = item(number, label), key.rpartition("/")[2]
    return replace(made, id=item_id(sha256, made.label), sha256=sha256, image_key=key)


def traces(folder: Path, one: Item, number: int) -> list[str]:
    """The files that still hold something of the item: picture, preview, vector, view, features, its row."""
    needles = [
        f"the picture number {number}.".encode(),
        embedding(one).tobytes(),
        view(one).astype("<f2").tobytes() if view(one).any() else b"\xff" * 64,
        features(one) or b"\xff" * 64,
        f'"id":"{one.id}"'.encode(),
    ]
    return [
        f"{path.name}: {place}"
        for path in folder.rglob("*")
        if path.is_file() and "erasures" not in path.parts  # a receipt names digests, and no more
        for place, needle in enumerate(needles)
        if needle in path.read_bytes()
    ]


def filled(folder: Path) -> tuple[LocalStore, GalleryStore, list[Item]]:
    """A gallery of six pictures in three versions' segments, one of them removed again."""
    objects = LocalStore(folder)
    store = GalleryStore(objects)
    store.create("g")
    items = [pictured(objects, number) for number in range(6)]
    for number in range(0, 6, 2):
        add(store, "g", *items[number : number + 2])
    store.remove("g", item_ids=[items[5].id])
    return objects, store, items


def test_an_erased_item_is_in_no_file(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    one, other = items[2], items[5]
    assert len(traces(tmp_path, one, 2)) >= 4
    done = opened(objects).erase_items("g", [one.id])
    assert traces(tmp_path, one, 2) == []
    assert (done.vectors, done.erased, done.kept, done.item_ids) == (1, (one.sha256,), (), (one.id,))
    assert done.completed_at is not None
    reader = GalleryStore(objects)
    left = {known.id for known in items} - {one.id}
    check(reader, "g", left - {other.id})
    assert reader.versions("g") == (1, 2, 3, 4, 5, 6)
    check(reader, "g", {items[0].id, items[1].id, items[3].id}, version=3)
    check(reader, "g", left, version=4)  # going back brings back all but what was erased
    done = opened(objects).erase_items("g", [other.id])  # was deleted before
    assert traces(tmp_path, other, 5) == []
    assert opened(objects).records.get(done.id) == done
    assert str(one.label) not in (tmp_path / "erasures" / "done" / f"{done.id}.json").read_text()
    with pytest.raises(ItemNotFound):
        opened(objects).erase_items("g", [one.id])
    with pytest.raises(ErasureNotFound):
        opened(objects).records.get("ers_../../x")
    check(GalleryStore(objects), "g", left - {other.id})
    add(store, "g", one)  # it may come again
    check(GalleryStore(objects), "g", left - {other.id} | {one.id})


def test_a_label_goes_with_all_that_it_was(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    renamed = rename_item(store, "g", items[0].id, "cola").changed[items[0].id]
    add(store, "g", replace(items[1], label="cola", id=item_id(items[1].sha256, "cola")))
    done = opened(objects).erase_items("g", labels=["cola"])
    assert traces(tmp_path, items[0], 0) == []
    assert {items[0].id, renamed} <= set(done.item_ids)
    assert done.erased == (items[0].sha256,)
    assert [(kept.sha256, kept.galleries) for kept in done.kept] == [(items[1].sha256, ("g",))]  # under its other label
    assert objects.exists(items[1].image_key)
    check(GalleryStore(objects), "g", {known.id for known in items[1:5]})


def test_what_another_gallery_shows_stays_and_the_receipt_says_so(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    store.create("other")
    add(store, "other", items[3])
    store.delete("other")  # it may be restored
    done = opened(objects).erase_items("g", [items[3].id])
    assert [kept.galleries for kept in done.kept] == [("other",)]
    assert objects.exists(items[3].image_key)
    restore(store, "other")
    check(GalleryStore(objects), "other", {items[3].id})


def test_what_a_deleted_gallery_of_the_name_has_goes_too(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    store.delete("g")
    store.create("g")
    add(store, "g", items[1])
    opened(objects).erase_items("g", [items[1].id])
    assert traces(tmp_path, items[1], 1) == []
    store.delete("g")
    restore(store, "g", all_deleted(store, "g")[0].generation)
    check(GalleryStore(objects), "g", {items[0].id, *(one.id for one in items[2:5])})


def test_a_photo_of_the_same_bytes_stays_and_the_receipt_says_so(
    tmp_path: Path, opened: Open, redis_client: redis.Redis
) -> None:
    objects, _, items = filled(tmp_path)
    key = Photos(redis_client, objects).keep(objects.get(items[0].image_key))
    done = opened(objects).erase_items("g", [items[0].id])
    assert [(kept.sha256, kept.photo) for kept in done.kept] == [(items[0].sha256, True)]
    assert (objects.exists(key), objects.exists(items[0].image_key)) == (True, False)


def test_feedback_on_the_picture_goes(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    feedback = GalleryFeedback(objects, store)
    gone = feedback.add("g", "rec_1", 2, None, "wrong", "a", "b", items[0].image_key, (4, 4))
    stays = feedback.add("g", "rec_1", 2, None, "wrong", "a", "b", items[1].image_key, (4, 4))
    done = opened(objects).erase_items("g", [items[0].id])
    assert done.feedback == (gone.id,)
    assert feedback.page("g").feedback == [stays]
    assert not objects.exists(items[0].image_key)


def test_a_picture_just_uploaded_waits_for_its_time(tmp_path: Path, redis_client: redis.Redis) -> None:
    _, store, items = filled(tmp_path)
    ledger = JobLedger(redis_client)
    waiting = Eraser(store, redis_client, ledger, 3600, 1000).erase_items("g", [items[0].id])
    assert (waiting.completed_at, waiting.pictures) == (None, (items[0].image_key,))
    assert len(traces(tmp_path, items[0], 0)) == 2  # picture and preview alone
    later = Eraser(store, redis_client, ledger, -9, 1000)
    assert later.finish_left(after_s=60) == 0  # the process with the request is at it
    request = {"gallery": "h", "items": [{"label": "a", "image_key": items[0].image_key}], "crop": "whole"}
    job = ledger.create("enrollment", request)
    assert later.finish_left(after_s=0) == 0  # an open job needs it
    ledger.cancel(job.id)
    later = Eraser(store, redis_client, ledger, -9, 1000)
    assert later.finish_left(after_s=0) == 1
    assert traces(tmp_path, items[0], 0) == []
    assert later.records.get(waiting.id).erased == (items[0].sha256,)
    assert later.records.unfinished() == []


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("what", ["item", "gallery"])
def test_whoever_dies_the_next_one_finishes(tmp_path: Path, opened: Open, what: str, after: bool) -> None:
    deaths = 0
    for at in range(1, 90, 2 if what == "item" else 3):
        folder = tmp_path / str(at)
        objects = LocalStore(folder)
        store = GalleryStore(objects)
        store.create("g")
        items = [pictured(objects, number) for number in range(2)]
        add(store, "g", *items)
        dying = Dying(objects, at, after)
        with suppress(Death):
            eraser = opened(dying)
            _ = eraser.erase_items("g", [items[0].id]) if what == "item" else eraser.erase_gallery("g")
        opened(objects).finish_left(after_s=-1)
        noted = list((folder / "erasures" / "done").glob("*")) if (folder / "erasures" / "done").is_dir() else []
        if not noted:
            assert (at, after) == (1, False), "requested, and forgotten"
            check(GalleryStore(objects), "g", {one.id for one in items})
            continue
        deaths += dying.dead
        assert traces(folder, items[0], 0) == []
        assert not list(objects.list("erasures/open/"))
        if what == "item":
            check(GalleryStore(objects), "g", {items[1].id})
            assert objects.exists(items[1].image_key)
        else:
            assert traces(folder, items[1], 1) == []
        if not dying.dead:
            break
    assert deaths > 4
    assert not dying.dead


def test_what_comes_again_after_the_request_is_not_erased_by_it(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    eraser = opened(objects)
    dying = Dying(objects, 2, after=False)
    with suppress(Death):
        opened(dying).erase_items("g", [items[0].id])
    (erasure,) = eraser.records.unfinished()
    store.remove("g", [items[0].id])
    add(store, "g", replace(items[0], added_at="9999-01-01T00:00:00Z"))
    assert eraser.finish_left(after_s=-1) == 1
    done = eraser.records.get(erasure.id)
    assert (done.vectors, [kept.galleries for kept in done.kept]) == (1, [("g",)])
    check(GalleryStore(objects), "g", {one.id for one in items[:5]})
    with pytest.raises(AssertionError):
        check(GalleryStore(objects), "g", {one.id for one in items[:5]}, version=2)


def test_an_item_of_a_clock_that_goes_ahead_is_erased(tmp_path: Path, opened: Open) -> None:
    objects, store, _ = filled(tmp_path)
    ahead = replace(pictured(objects, 9), added_at="9999-01-01T00:00:00Z")
    add(store, "g", ahead)
    assert opened(objects).erase_items("g", [ahead.id]).vectors == 1
    assert traces(tmp_path, ahead, 9) == []


def test_the_pictures_of_a_purged_gallery_go_and_others_stay(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    store.create("other")
    add(store, "other", items[0])
    GalleryFeedback(objects, store).add("g", "rec_1", 2, None, "wrong", "a", "b", objects.put_image(b"seen"), (4, 4))
    store.delete("g")
    eraser = opened(objects)
    assert eraser.finish_left(after_s=-1) == 0
    assert purge_due(store, 0, time.time() + 9, eraser.before_purge) == 1
    assert eraser.finish_left(after_s=-1) == 1
    assert list(objects.list("images/")) == [items[0].image_key]
    assert list(objects.list("previews/")) == [preview_key(items[0].image_key)]
    assert not list(objects.list("erasures/"))
    check(GalleryStore(objects), "other", {items[0].id})


def test_an_erased_gallery_is_nowhere(tmp_path: Path, opened: Open) -> None:
    objects, store, items = filled(tmp_path)
    store.delete("g")
    store.create("g")
    add(store, "g", items[1])
    done = opened(objects).erase_gallery("g")
    assert set(done.erased) == {one.sha256 for one in items}
    for number, one in enumerate(items):
        assert traces(tmp_path, one, number) == []
    assert store.names() == ()
    assert all_deleted(store, purging=True) == []
    store.create("g")
    check(store, "g", set())


def test_an_idle_object_is_deleted_and_one_just_put_is_not(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    key = objects.put_image(b"a")
    assert not objects.delete_idle(key, time.time() - 5)
    assert objects.get(key) == b"a"
    path = tmp_path / key
    path.rename(path.with_name(f".{path.name}.leaving"))  # who was deleting it died
    assert objects.delete_idle(key, time.time() + 5)
    assert objects.delete_idle(key, time.time() + 5)
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]

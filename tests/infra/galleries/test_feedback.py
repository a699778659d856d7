"""Judgements are kept one by one: none is lost to another writer or a death, and lists are made of the last ones."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from infra.errors.galleries import FeedbackNotFound, GalleryCorrupt, GalleryNotFound
from infra.errors.requests import InvalidCursor
from infra.galleries.deleted import purge_due
from infra.galleries.feedback import Feedback, GalleryFeedback, Verdict, coco_of, held_out, list_of
from infra.galleries.files import Box
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from tests.infra.galleries.test_crashes import Death, Dying

BOX = (1, 2, 30, 40)


def opened(folder: Path) -> GalleryFeedback:
    objects = LocalStore(folder)
    return GalleryFeedback(objects, GalleryStore(objects))


@pytest.fixture
def book(tmp_path: Path) -> GalleryFeedback:
    GalleryStore(LocalStore(tmp_path)).create("drinks")
    return opened(tmp_path)


def say(
    book: GalleryFeedback,
    verdict: Verdict = "right",
    label: str | None = "tea",
    box: Box | None = BOX,
    photo: int = 0,
    gallery: str = "drinks",
) -> Feedback:
    return book.add(gallery, f"rec_{photo}", 2, box, verdict, "tea", label, f"images/00/{photo:02}", (64, 48))


def test_judgements_are_kept_counted_and_paged(book: GalleryFeedback, tmp_path: Path) -> None:
    made = [say(book, verdict, photo=photo) for photo in range(3) for verdict in ("right", "wrong", "ignore", "wrong")]
    again = opened(tmp_path)
    seen: list[Feedback] = []
    after = None
    while True:
        page = again.page("drinks", after, 5)
        assert page.counts == {"right": 3, "wrong": 6, "ignore": 3}
        seen += page.feedback
        after = page.next_after
        if after is None:
            break
    assert sorted(seen, key=lambda one: one.id) == seen
    assert set(seen) == set(made)
    wrong = again.page("drinks", verdict="wrong", limit=4)
    assert [one.verdict for one in wrong.feedback] == ["wrong"] * 4
    assert [one.verdict for one in again.page("drinks", wrong.next_after, 4, "wrong").feedback] == ["wrong"] * 2
    assert {one.job_id for one in again.of_job("drinks", "rec_1")} == {"rec_1"}
    assert len(again.of_job("drinks", "rec_1")) == 4
    assert again.find("drinks", made[3].id) == made[3]
    with pytest.raises(FeedbackNotFound):
        again.find("drinks", "fbk_0")
    with pytest.raises(InvalidCursor):
        again.page("drinks", "v3.5")


def test_they_belong_to_one_gallery_and_go_with_it(book: GalleryFeedback, tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    galleries = GalleryStore(objects)
    galleries.create("drinks-2")
    say(book)
    assert book.page("drinks-2").feedback == []
    galleries.delete("drinks")
    purge_due(galleries, 0, time.time() + 1)
    assert list(objects.list("galleries/feedback/")) == []
    for call in (lambda: book.page("drinks"), lambda: say(book), lambda: book.latest("drinks")):
        with pytest.raises(GalleryNotFound):
            call()
    galleries.create("drinks")
    assert book.page("drinks").counts == {"right": 0, "wrong": 0, "ignore": 0}


def test_a_gallery_that_is_deleted_meanwhile_keeps_nothing(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    galleries = GalleryStore(objects)
    galleries.create("drinks")

    class Late(LocalStore):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data)
            galleries.delete("drinks")
            galleries.create("drinks")  # again, by the same name

    with pytest.raises(GalleryNotFound):
        say(GalleryFeedback(Late(tmp_path), galleries))
    assert list(objects.list("galleries/feedback/")) == []


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_death_leaves_feedback_whole_or_none(tmp_path: Path, after: bool) -> None:
    objects = LocalStore(tmp_path)
    GalleryStore(objects).create("drinks")
    dying = Dying(objects, 1, after)
    with pytest.raises(Death):
        say(GalleryFeedback(dying, GalleryStore(dying)))
    assert len(opened(tmp_path).page("drinks").feedback) == int(after)
    say(opened(tmp_path))
    assert opened(tmp_path).page("drinks").counts["right"] == 1 + int(after)


def work(folder: Path, number: int) -> None:
    book = opened(folder)
    for turn in range(25):
        say(book, photo=100 * number + turn)


def test_processes_side_by_side_lose_none(book: GalleryFeedback, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(tmp_path, number)) for number in range(4)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(30)
    assert [one.exitcode for one in processes] == [0] * 4
    found = book.page("drinks", limit=1000)
    assert found.counts["right"] == len(found.feedback) == len({one.image_key for one in found.feedback}) == 100


def test_what_is_no_feedback_is_skipped_and_a_broken_one_reported(book: GalleryFeedback, tmp_path: Path) -> None:
    made = say(book)
    objects = LocalStore(tmp_path)
    (key,) = objects.list("galleries/feedback/")
    objects.put(key.rpartition("/")[0] + "/notes.txt", b"nobody's")
    assert book.page("drinks").feedback == [made]
    for broken in (b"{", b"[]", b"{}", json.dumps({"schema": 2}).encode()):
        objects.put(key, broken)
        with pytest.raises(GalleryCorrupt):
            book.page("drinks")


def test_the_last_feedback_on_a_box_counts(book: GalleryFeedback) -> None:
    say(book, "wrong", "cola")
    say(book, "right", "milk", box=None)
    say(book, "right", "tea")
    say(book, "wrong", None, photo=1)
    say(book, "ignore", None, box=None, photo=1)
    say(book, "wrong", "green tea", box=(0, 0, 20, 20), photo=1)
    latest = book.latest("drinks")
    assert sorted(list_of(latest)) == [
        "images/00/00\tmilk\trec_0\n",
        "images/00/00\ttea\trec_0\t1,2,30,40\n",
        "images/00/01\tgreen tea\trec_1\t0,0,20,20\n",
    ]
    coco = coco_of(latest)
    assert [image["file_name"] for image in coco["images"]] == ["images/00/00", "images/00/01"]
    names = {one["id"]: one["name"] for one in coco["categories"]}
    notes = [(one["image_id"], one["bbox"], one["iscrowd"], names[one["category_id"]]) for one in coco["annotations"]]
    assert notes == [
        (1, [1, 2, 29, 38], 0, "tea"),
        (1, [0, 0, 64, 48], 0, "milk"),
        (2, [1, 2, 29, 38], 1, "unknown"),
        (2, [0, 0, 64, 48], 1, "unknown"),
        (2, [0, 0, 20, 20], 0, "green tea"),
    ]


def test_every_fifth_photo_is_held_out_and_stays_so(book: GalleryFeedback) -> None:
    kept: list[set[str]] = []
    for photo in range(11):
        say(book, photo=photo)
        say(book, photo=photo, box=None)
        kept.append(held_out(book.latest("drinks")))
    assert kept[3] == set()
    assert kept[4] == kept[8] == {"images/00/04"}
    assert kept[10] == {"images/00/04", "images/00/09"}

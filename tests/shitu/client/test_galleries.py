"""Galleries and batches through both clients."""

from __future__ import annotations

from typing import Any

import pytest

from infra.runtime.settings import Settings
from shitu.client.errors import Conflict, NotFound, RequestRefused
from tests.linting import linting
from tests.shitu.client.conftest import Call, Served
from tests.shitu.front_end import Hand
from tests.web.conftest import fill_gallery
from tests.web.pictures import picture
from web.services import EXTENSION


@pytest.fixture
def drinks(served: Served) -> str:
    fill_gallery(served.app.extensions[EXTENSION], "drinks", ["tea", "tea", "cola", "cola"])
    return "drinks"


def test_a_gallery_is_made_listed_and_deleted(call: Call) -> None:
    assert call("galleries.create", "snacks")["item_count"] == 0
    assert [one["name"] for one in call("galleries.list")] == ["snacks"]
    call("galleries.delete", "snacks")
    with pytest.raises(NotFound, match="gallery_not_found"):
        call("galleries.get", "snacks")


def test_how_a_gallery_is_searched_is_chosen(call: Call) -> None:
    made = call("galleries.create", "snacks", dist_type="hamming", rerank=5)
    assert made["index"]["in_use"] == "BFlat,R5"
    changed = call("galleries.choose_index", "snacks", index_method="IVF")
    assert (changed["version"], changed["index"]["index_method"], changed["index"]["dist_type"]) == (2, "IVF", "IP")
    assert call("galleries.choose_index", "snacks")["index"]["index_method"] == "auto"
    fused = call("galleries.choose_index", "snacks", fuse=True, fuse_by="sku")["index"]
    assert (fused["fuse"], fused["fuse_by"]) == (True, "sku")
    assert call("galleries.create", "fused", fuse=True)["index"]["fuse"] is True


def test_pictures_are_added_and_the_job_waited_for(call: Call, drinks: str, hand: Hand) -> None:
    job = call(
        "galleries.add", drinks, [picture(seed=7), picture(seed=8)], ["milk", "tea"], item_metadata={"shop": "1"}
    )
    ended = call("enrollments.wait", job, timeout_s=20)
    assert [(one["label"], one["status"]) for one in ended["result"]["items"]] == [("milk", "added"), ("tea", "added")]
    assert [one["metadata"] for one in hand.requests[-1]["items"]] == [{"shop": "1"}] * 2
    assert [one["id"] for one in call("enrollments.list", label="milk")] == [job["id"]]


def test_pictures_are_added_by_url_by_upload_and_in_the_body(call: Call, drinks: str, hand: Hand) -> None:
    upload = call("uploads.create", picture(seed=9))
    pictures = ["https://shop.example/a.jpg", "s3://bucket/b.jpg", upload, picture(seed=8)]
    with pytest.raises(RequestRefused, match="bucket_forbidden"):
        call("galleries.add", drinks, pictures, "milk")
    made = call(
        "galleries.add",
        drinks,
        [pictures[0], *pictures[2:]],
        ["milk", "tea", "water"],
        crop="main_body",
        skip_near_duplicates=True,
        activate=False,
        item_metadata=[{"shop": "1"}, {}, {"shop": "2"}],
        metadata={"visit": "7"},
    )
    request = made["request"]
    assert [one["label"] for one in request["items"]] == ["milk", "tea", "water"]
    assert [one.get("metadata", {}) for one in request["items"]] == [{"shop": "1"}, {}, {"shop": "2"}]
    assert ["image_key" in one for one in request["items"]] == [False, True, True]
    assert (request["crop"], request["skip_near_duplicates"], request["activate"]) == ("main_body", True, False)
    assert made["metadata"] == {"visit": "7"}
    one = call("galleries.add", drinks, pictures[:1], "milk", item_metadata={"shop": "3"})
    assert [one["metadata"] for one in one["request"]["items"]] == [{"shop": "3"}]
    assert call("galleries.versions", drinks, staged=True)["versions"] == []
    assert [one["staged"] for one in call("galleries.versions", drinks)["versions"]] == [False, False]
    with pytest.raises(ValueError, match="2 pictures have 3 labels"):
        call("galleries.add", drinks, pictures[:2], ["a", "b", "c"])


def test_items_are_found_by_their_looks(call: Call, drinks: str) -> None:
    tea, *others = call("galleries.items", drinks)
    alike = call("galleries.items", drinks, like=tea, page_size=2)
    assert {one["id"] for one in alike} == {one["id"] for one in others}
    assert {one["similarity"] for one in alike} == {0.0}
    assert [one["label"] for one in call("galleries.items", drinks, like=tea["id"], label="tea")] == ["tea"]
    sent = {"limit": 7, "filters": {"brand": "x"}, "version": 2, "metadata": {"visit": "7"}}
    made = call("galleries.search_items", drinks, picture(seed=4), **sent)
    assert made["id"].startswith("emb_")
    assert made["request"]["options"] == {"limit": 7, "version": 2}
    assert (made["request"]["gallery"], made["request"]["filter"]) == (drinks, ["brand:x"])
    linked = call("galleries.search_items", drinks, "https://shop.example/a.jpg", name="shelf.jpg")
    assert linked["request"]["image"]["name"] == "shelf.jpg"


def test_a_deleted_label_is_brought_back(call: Call, drinks: str) -> None:
    version = call("galleries.delete_labels", drinks, "tea")["version"]
    done = call("galleries.restore_items", drinks, version - 1, label="tea")
    assert (done["restored"], done["item_count"]) == (2, 4)
    ids = [one["id"] for one in call("galleries.items", drinks, label="tea")]
    again = call("galleries.restore_items", drinks, version - 1, item_ids=ids)
    assert (again["restored"], again["duplicates"]) == (0, 2)


def test_a_box_of_a_job_is_enrolled(call: Call, drinks: str, hand: Hand) -> None:
    job = call("recognitions.wait", call("recognitions.create", picture("JPEG", 640, 480, 3), drinks), timeout_s=20)
    made = call("galleries.enroll_box", drinks, job, "milk", box=[60, 90, 260, 420])
    (item,) = made["request"]["items"]
    assert (item["job"], item["box"], item["label"]) == (job["id"], [60, 90, 260, 420], "milk")


def test_items_and_labels_are_listed_page_by_page(call: Call, drinks: str) -> None:
    assert [one["label"] for one in call("galleries.items", drinks, page_size=3)] == ["tea", "tea", "cola", "cola"]
    version = call("galleries.get", drinks)["version"]
    assert len(call("galleries.items", drinks, version=version, label="tea", page_size=1)) == 2
    assert [one["label"] for one in call("galleries.labels", drinks, page_size=1)] == ["cola", "tea"]
    assert [one["item_count"] for one in call("galleries.labels", drinks, prefix="TE")] == [2]
    item = call("galleries.items", drinks)[0]
    assert call("galleries.item_picture", drinks, item) == picture(seed=0)


def test_corrections_are_versions_that_can_be_gone_back_from(call: Call, drinks: str) -> None:
    before = call("galleries.get", drinks)["version"]
    item = call("galleries.items", drinks)[0]
    assert call("galleries.rename_item", drinks, item, "oolong & 茶")["changed"] == 1
    with pytest.raises(Conflict, match="label_exists"):
        call("galleries.rename_label", drinks, "oolong & 茶", "cola")
    assert call("galleries.rename_label", drinks, ["oolong & 茶", "tea"], "cola", merge=True)["changed"] == 2
    assert {one["label"] for one in call("galleries.items", drinks)} == {"cola"}
    assert call("galleries.activate", drinks, before)["item_count"] == 4
    assert call("galleries.versions", drinks)["current"] == before
    call("galleries.create", "snacks")
    assert call("galleries.move_items", drinks, "snacks", label="tea")["moved"] == 2
    first = call("galleries.items", drinks)[0]
    assert call("galleries.delete_item", drinks, first)["item_count"] == 1
    assert call("galleries.delete_labels", drinks, ["cola"])["item_count"] == 0


def test_a_batch_is_waited_for_with_its_progress(call: Call, drinks: str, hand: Hand) -> None:
    seen: list[Any] = []
    photos = [picture(seed=n) for n in range(3)]
    batch = call("batches.create", photos, drinks, {"top_k": 2}, metadata={"shelf": "7"})
    ended = call("batches.wait", batch, timeout_s=20, progress=lambda state: seen.append(state["counts"]))
    assert (ended["status"], ended["counts"]["succeeded"]) == ("completed", 3)
    assert seen[-1] == ended["counts"]
    seen.clear()
    assert call("batches.wait", ended, progress=lambda state: seen.append(state["counts"])) == ended
    assert seen == [ended["counts"]]  # though it had ended before
    results = call("batches.results", batch)
    assert [one["index"] for one in results] == [0, 1, 2]
    assert {one["result"]["recognitions"][0]["label"] for one in results} == {"tea"}
    assert [one["id"] for one in call("batches.list", status="completed", page_size=1)] == [batch["id"]]
    assert call("batches.list", gallery="snacks") == []
    assert call("batches.csv", batch).startswith(b"index,name,job_id")
    with pytest.raises(Conflict, match="job_finished"):
        call("batches.cancel", batch)


def test_a_batch_of_no_worker_is_given_up(call: Call, drinks: str) -> None:
    batch = call("batches.create", [picture(seed=1)], drinks)
    assert call("batches.cancel", batch["id"])["status"] == "canceled"
    assert call("batches.wait", batch, timeout_s=5)["status"] == "canceled"


def test_a_change_is_undone_and_a_deleted_gallery_restored(call: Call, drinks: str) -> None:
    before = call("galleries.get", drinks)["version"]
    call("galleries.delete_labels", drinks, "tea")
    assert call("galleries.undo", drinks)["version"] == before
    call("galleries.delete", drinks)
    (gone,) = call("galleries.deleted")
    assert gone["name"] == drinks
    assert call("galleries.restore", drinks, gone["generation"])["item_count"] == 4


def test_what_is_erased_leaves_a_receipt(call: Call, drinks: str) -> None:
    item, other = call("galleries.items", drinks, label="tea")
    receipt = call("galleries.erase_item", drinks, item)
    assert receipt["item_ids"] == [item["id"]]
    assert call("galleries.erasure", receipt)["id"] == receipt["id"]
    assert call("galleries.erase_labels", drinks, ["tea"])["item_ids"] == [other["id"]]
    assert call("galleries.erase", drinks)["gallery"] == drinks


def test_a_gallery_is_linted(call: Call, drinks: str, settings: Settings) -> None:
    with linting(settings):
        report = call("galleries.lint", drinks)
    assert report["complete"]
    assert (report["gallery"], report["item_count"]) == (drinks, 4)
    assert {one["kind"] for one in report["findings"]} <= set(report["kinds"])
    assert call("galleries.lint", drinks, level="error", limit=1)["item_count"] == 4


def test_items_are_listed_and_photos_searched_by_metadata(call: Call, drinks: str, hand: Hand) -> None:
    assert list(call("galleries.items", drinks, filters={"brand": "x"})) == []
    job = call("recognitions.create", picture("JPEG", 640, 480, 3), drinks, filters={"brand": "x"})
    assert job["request"]["filter"] == ["brand:x"]
    batch = call("batches.create", [picture(seed=1)], drinks, filters=["brand:x", "size:1"])
    assert batch["request"]["filter"] == ["brand:x", "size:1"]
    done = call("recognitions.wait", job, timeout_s=20)
    assert call("recognitions.compare", done, filters="brand:y")["request"]["filter"] == ["brand:y"]

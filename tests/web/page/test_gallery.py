"""The page of one gallery, in a real browser: ten thousand pictures, labels, versions, and the way back."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from infra.galleries.store import GalleryStore, Item, item_id
from infra.jobs.ledger import open_ledger
from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from tests.infra.ledgers import started
from tests.web.conftest import EMBEDDER
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import keep, product
from tests.web.page.stand_in import Worker

COLOURS = ("#2f7d4f", "#b3202a", "#1c57a5", "#8a5200")
MANY = 10_000


@pytest.fixture
def store(settings: Settings) -> GalleryStore:
    return GalleryStore(open_store(settings.objects, settings.data_dir))


def fill(settings: Settings, store: GalleryStore, name: str, labels: list[str]) -> None:
    """A gallery with an item for each label, which share a few pictures."""
    objects = open_store(settings.objects, settings.data_dir)
    keys = [objects.put_image(product(colour)) for colour in COLOURS]
    store.create(name)
    digests = [f"{number:064x}" for number in range(len(labels))]
    items = [
        Item(item_id(digest, label), label, keys[number % len(keys)], digest, None, "2026")
        for number, (digest, label) in enumerate(zip(digests, labels, strict=True))
    ]
    store.add(name, items, np.eye(len(items), 8, dtype=np.float32), EMBEDDER)


@pytest.fixture
def drinks(page: Page, settings: Settings, store: GalleryStore) -> Iterator[Page]:
    fill(settings, store, "drinks", ["tea", "tea", "cola", "cola light"])
    page.goto("/galleries/drinks")
    expect(page.locator("#grid li")).to_have_count(4)
    return page


def labels_of(page: Page) -> list[str]:
    return [found["label"] for found in page.request.get("/v1/galleries/drinks/labels").json()["labels"]]


def test_a_gallery_of_ten_thousand_pictures(
    page: Page, settings: Settings, store: GalleryStore, tmp_path: Path
) -> None:
    fill(settings, store, "all", [f"product {number // 4:04}" for number in range(MANY)])
    page.goto("/galleries/all")
    expect(page.locator("#facts")).to_have_text("10,000 pictures, version 2")
    expect(page.locator("#grid li")).to_have_count(48)
    expect(page.locator("#page-facts")).to_have_text("1 to 48 of 10,000")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page-facts")).to_have_text("49 to 96 of 10,000")
    page.get_by_role("button", name="Previous page").click()
    expect(page.locator("#page-facts")).to_have_text("1 to 48 of 10,000")
    expect(page.locator("#label-list li")).to_have_count(50)
    page.get_by_role("button", name="More labels").click()
    expect(page.locator("#label-list li")).to_have_count(100)
    page.get_by_label("Find labels that begin with").fill("PRODUCT 2345")
    expect(page.locator("#label-list li")).to_have_count(1)
    keep(page, "gallery-many", tmp_path)
    page.locator("#label-list .pick").click()
    expect(page.locator("#page-facts")).to_have_text("1 to 4 of 4")
    expect(page.locator("#grid li").first).to_have_text("product 2345")
    expect_accessible(page)


def test_labels_are_renamed_merged_and_deleted_and_it_can_be_undone(drinks: Page, tmp_path: Path) -> None:
    page = drinks
    expect_accessible(page)
    keep(page, "gallery", tmp_path)
    page.get_by_role("button", name="Rename tea").click()
    expect_accessible(page)
    page.get_by_role("textbox", name="Rename tea").or_(page.get_by_role("combobox", name="Rename tea")).fill(
        "green tea"
    )
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#undo")).to_contain_text("tea is green tea now.")
    assert labels_of(page) == ["cola", "cola light", "green tea"]
    page.get_by_role("button", name="Rename cola light").click()
    page.locator("#naming input").fill("cola")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#naming-merge")).to_contain_text("Merge both?")
    page.get_by_role("button", name="Merge both").click()
    expect(page.locator("#undo")).to_contain_text("cola light is cola now.")
    assert labels_of(page) == ["cola", "green tea"]
    page.get_by_role("button", name="Delete cola").click()
    expect(page.locator("#undo")).to_contain_text("cola is deleted (2 pictures).")
    expect(page.locator("#grid li")).to_have_count(2)
    expect_accessible(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_have_text("Undone.")
    expect(page.locator("#grid li")).to_have_count(4)
    assert labels_of(page) == ["cola", "green tea"]
    page.get_by_role("button", name="Activate version 2").click()
    expect(page.locator("#undo")).to_contain_text("Version 2 is in force.")
    assert labels_of(page) == ["cola", "cola light", "tea"]


def test_selected_pictures_are_deleted_relabelled_and_moved(drinks: Page) -> None:
    page = drinks
    page.request.post("/v1/galleries", data={"name": "other"})
    expect(page.get_by_role("button", name="Move", exact=True)).to_be_disabled()
    page.locator("#grid input").nth(0).check()
    page.locator("#grid input").nth(2).check()
    expect(page.locator("#selected")).to_have_text("2 selected")
    page.get_by_role("button", name="Change label").click()
    page.locator("#naming input").fill("both")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#undo")).to_contain_text("2 pictures labelled both.")
    assert labels_of(page) == ["both", "cola light", "tea"]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_have_text("Undone.")
    assert labels_of(page) == ["cola", "cola light", "tea"]
    page.locator("#grid input").nth(1).check()
    page.locator("#move").click()
    page.locator("#naming-do").click()
    expect(page.locator("#undo")).to_contain_text("1 picture moved to other.")
    count = page.request.get("/v1/galleries/other").json()["item_count"]
    assert count == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_have_text("Undone.")
    assert page.request.get("/v1/galleries/other").json()["item_count"] == 0
    expect(page.locator("#grid li")).to_have_count(4)
    page.get_by_role("button", name="Select this page").click()
    expect(page.locator("#selected")).to_have_text("4 selected")
    page.locator("#delete-items").click()
    expect(page.locator("#undo")).to_contain_text("4 pictures deleted.")
    expect(page.locator("#facts")).to_contain_text("Still empty")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#grid li")).to_have_count(4)


def test_pictures_like_one_come_first(drinks: Page, tmp_path: Path) -> None:
    page = drinks
    ids = [one["id"] for one in page.request.get("/v1/galleries/drinks/items").json()["items"]]
    alike = page.get_by_role("button", name="Find alike")
    expect(alike).to_be_disabled()
    page.locator("#grid input").nth(2).check()
    page.locator("#grid input").nth(3).check()
    expect(alike).to_be_disabled()
    page.locator("#grid input").nth(3).uncheck()
    with page.expect_response(lambda answer: "like=" in answer.url) as answered:
        alike.click()
    assert f"like={ids[2]}" in answered.value.url
    expect(page.locator("#filter")).to_contain_text("Like the picked picture of cola")
    expect(page.locator("#grid li")).to_have_count(3)
    expect(page.locator("#grid li").first).to_contain_text("similarity 0.00")
    expect(page.locator("#pictures-heading")).to_be_focused()
    expect_accessible(page)
    keep(page, "gallery-alike", tmp_path)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#grid li")).to_have_count(4)
    expect(page.locator("#filter")).to_be_hidden()


def test_a_picture_is_dropped_to_find_others_and_a_failed_search_is_reported(drinks: Page, settings: Settings) -> None:
    page, data = drinks, base64.b64encode(product("#2f7d4f")).decode()
    with page.expect_response("**/v1/galleries/drinks/search") as answered:
        page.evaluate(
            """(data) => {
              const dataTransfer = new DataTransfer();
              dataTransfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "tea.jpg", {type: "image/jpeg"}));
              document.querySelector("#search-place").dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
            }""",
            data,
        )
    ledger = open_ledger(settings)
    lease = started(ledger, ledger.get(answered.value.json()["id"]))
    ledger.fail(lease, {"code": "image_truncated", "message": "The picture ends too early.", "retryable": False})
    expect(page.locator("#error")).to_contain_text("(image_truncated)")
    expect(page.locator("#grid li")).to_have_count(4)
    expect(page.locator("#add-preview")).to_be_hidden()  # nor is it offered to be added
    assert page.locator("#add-files").evaluate("one => one.files.length") == 0
    expect_accessible(page)


def test_a_staged_version_is_marked_and_evaluated_until_it_is_put_in_force(
    drinks: Page, settings: Settings, store: GalleryStore
) -> None:
    more = Item(item_id("f" * 64, "water"), "water", None, "f" * 64, None, "2026")
    version = store.add("drinks", [more], np.eye(1, 8, dtype=np.float32), EMBEDDER, activate=False).manifest.version
    drinks.reload()
    newest = drinks.locator("#versions tr").first
    expect(newest).to_contain_text(f"{version}, staged")
    expect(drinks.locator("#versions tr", has_text="staged")).to_have_count(1)
    newest.get_by_role("button", name=f"Evaluate version {version}").click()
    expect(newest).to_contain_text("Waiting for a free worker")
    expect_accessible(drinks)
    ledger = open_ledger(settings)
    (job,) = drinks.request.get("/v1/evaluations?gallery=drinks").json()["evaluations"]
    scores = {"version": {"queries": 4, "right": 3}, "against": {"queries": 4, "right": 2}, "gained": 1, "lost": 0}
    ledger.succeed(
        started(ledger, ledger.get(job["id"])), {"leave_one_out": scores, "against": {"name": "drinks", "version": 2}}
    )
    words = "3 of 4 pictures recognised, 2 by version 2"
    expect(newest).to_contain_text(words)
    drinks.reload()
    expect(newest).to_contain_text(words)  # it is not evaluated twice
    expect(newest.get_by_role("button", name="Evaluate")).to_have_count(0)
    expect_accessible(drinks)
    newest.get_by_role("button", name=f"Activate version {version}").click()
    expect(drinks.locator("#undo")).to_contain_text(f"{version}")
    expect(drinks.locator("#versions tr", has_text="staged")).to_have_count(0)
    expect(drinks.locator("#grid li")).to_have_count(5)


def test_what_others_changed_since_is_not_undone(drinks: Page) -> None:
    page = drinks
    page.get_by_role("button", name="Delete tea").click()
    expect(page.locator("#undo")).to_contain_text("tea is deleted")
    assert page.request.delete("/v1/galleries/drinks/items?label=cola").ok
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#error")).to_contain_text("changed by somebody else")
    assert labels_of(page) == ["cola light"]


def test_a_dropped_folder_names_its_pictures_and_a_wrong_label_is_fixed(
    drinks: Page, worker: Worker, tmp_path: Path
) -> None:
    """A folder's choice and a drop share their code from the files on; a script cannot make a folder to drop."""
    page = drinks
    folder = tmp_path / "stock"
    for label, name in (("mate", "a.jpg"), ("mate", "b.jpg"), ("lemonad", "c.jpg")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / name).write_bytes(product(COLOURS[0]) + name.encode())
    (folder / "mate" / "Thumbs.db").write_bytes(b"clutter")
    page.locator("#add-folder").set_input_files(folder)
    expect(page.locator("#add-preview-summary")).to_have_text("3 pictures will be added under 2 labels:")
    fields = page.locator("#add-preview-list input")
    values = [field.input_value() for field in fields.all()]
    fields.nth(values.index("lemonad")).fill("lemonade")
    fields.nth(values.index("lemonad")).press("Tab")
    expect_accessible(page)
    keep(page, "gallery-adding", tmp_path)
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("3 added")
    assert labels_of(page) == ["cola", "cola light", "lemonade", "mate", "tea"]


def test_files_dropped_anywhere_are_offered(drinks: Page, worker: Worker) -> None:
    page = drinks
    data = base64.b64encode(product(COLOURS[1])).decode()
    page.evaluate(
        """data => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
          transfer.items.add(new File([bytes], 'mate.jpg', { type: 'image/jpeg' }));
          for (const kind of ['dragenter', 'dragover', 'drop']) {
            document.querySelector('h1').dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
          }
        }""",
        data,
    )
    page.locator("#add-from").select_option("file")
    expect(page.locator("#add-preview-list input")).to_have_value("mate")
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("1 added")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_have_text("Undone.")
    assert "mate" not in labels_of(page)


def test_a_gallery_that_is_not_there_is_reported(page: Page) -> None:
    page.goto("/galleries/nothing")
    expect(page.locator("#error")).to_contain_text("gallery_not_found")
    expect(page.locator("#whole")).to_be_hidden()
    expect_accessible(page)


def test_how_it_is_searched_is_shown_chosen_and_gone_back_on(drinks: Page, store: GalleryStore) -> None:
    expect(drinks.locator("#searching-facts")).to_have_text("In use: Flat.")
    expect(drinks.locator("#rerank")).to_be_hidden()
    drinks.get_by_label("Compared by").select_option("hamming")
    drinks.get_by_label("How many of the nearest are put in order by their embeddings").fill("7")
    drinks.get_by_label("The pictures of a label are one vector").check()
    drinks.get_by_label("Or one for each value of this metadata entry (optional)").fill("sku")
    expect_accessible(drinks)
    drinks.get_by_role("button", name="Search so").click()
    expect(drinks.locator("#undo")).to_contain_text("Searched otherwise now.")
    expect(drinks.locator("#searching-facts")).to_contain_text("BFlat,R7")
    index = store.manifest("drinks").index
    assert index == {"index_method": "auto", "dist_type": "hamming", "rerank": 7, "fuse": True, "fuse_by": "sku"}
    drinks.locator("#undo").get_by_role("button").click()
    expect(drinks.locator("#searching-facts")).to_have_text("In use: Flat.")
    expect(drinks.get_by_label("Compared by")).to_have_value("IP")
    assert store.manifest("drinks").index is None
    drinks.get_by_label("Index").select_option("IVF")
    drinks.get_by_label("The pictures of a label are one vector").check()
    drinks.get_by_role("button", name="Search so").click()  # these two do not go together
    expect(drinks.locator("#error")).to_contain_text("fuse")


def test_every_page_is_there_in_chinese(drinks: Page) -> None:
    """Each with what the browser reads out: none of the English words, nor anything that axe finds."""
    drinks.get_by_role("button", name="中文").click()
    for path in ("/", "/galleries/drinks", "/galleries/drinks/versions", "/jobs", "/system"):
        drinks.goto(path)
        expect(drinks.locator("html")).to_have_attribute("lang", "zh")
        expect(drinks.locator("h1, h2").first).to_have_text(re.compile("[\\u4e00-\\u9fff]|drinks"))
        expect_accessible(drinks)

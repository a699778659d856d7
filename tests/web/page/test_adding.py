"""Adding pictures to a gallery on the page: labels, bad pictures, large ones, and broken lines."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, Route, expect

from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import add, enrolled, enrolled_drinks, keep, phone_photo, product, scene, upload
from tests.web.page.stand_in import Worker


def expect_labels(page: Page, labels: list[str]) -> None:
    fields = page.locator("#add-preview-list input")
    expect(fields).to_have_count(len(labels))
    for number, label in enumerate(labels):
        expect(fields.nth(number)).to_have_value(label)


def test_labels_from_names_are_shown_before_they_are_made(worker: Worker, page: Page) -> None:
    page.request.post("/v1/galleries", data={"name": "parts"})
    page.reload()
    names = ["SKU-1001.jpg", "SKU-1002.jpg", "tea-1.jpg", "tea-2.jpg", "cafe\u0301 (3).jpg", "._tea-1.jpg"]
    page.get_by_label("Pictures, one product in each").set_input_files(
        [upload(name, product("#2f7d4f")) for name in names]
    )
    expect(page.locator("#add-preview")).to_be_hidden()
    page.get_by_label("Labels", exact=True).select_option("file")
    expect_labels(page, ["SKU-1001", "SKU-1002", "tea", "caf\u00e9"])
    expect(page.locator("#add-preview-summary")).to_have_text("5 pictures will be added under 4 labels:")
    expect_accessible(page)
    page.get_by_label("Leave out a counter at the end").uncheck()
    expect_labels(page, ["SKU-1001", "SKU-1002", "tea-1", "tea-2", "caf\u00e9 (3)"])


def test_one_bad_picture_is_reported_and_the_others_are_added(worker: Worker, page: Page) -> None:
    page.request.post("/v1/galleries", data={"name": "parts"})
    page.reload()
    bad = {"name": "bad.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    page.get_by_label("Pictures, one product in each").set_input_files([upload("tea.jpg", product("#2f7d4f")), bad])
    page.get_by_label("Label: what they show").fill("tea")
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("1 added, 1 not usable:")
    expect(page.locator("#add-status li")).to_contain_text("bad.jpg: This is not a picture")
    expect_accessible(page)


def test_large_photos_are_shrunk_upright_and_small_ones_sent_as_they_are(
    worker: Worker, page: Page, settings: Settings
) -> None:
    large, small = phone_photo(1), scene()
    assert len(large) > 700_000
    add(page, [upload("phone.jpg", large), upload("small.jpg", small)])
    expect(page.locator("#add-status")).to_contain_text("2 added")
    found = dict(enrolled(worker, settings))
    assert found["small.jpg"] == small
    sent = Image.open(io.BytesIO(found["phone.jpg"]))
    assert sent.size == (1418, 2048)
    assert len(found["phone.jpg"]) < len(large)
    assert sent.getexif().get(0x0112, 1) == 1
    upper, lower = sent.getpixel((700, 300)), sent.getpixel((700, 1700))
    assert isinstance(upper, tuple)
    assert isinstance(lower, tuple)
    assert upper[0] > 150 > upper[2]
    assert lower[2] > 150 > lower[0]


def test_an_interrupted_addition_resumes_and_sends_nothing_twice(
    worker: Worker, page: Page, settings: Settings
) -> None:
    """Small requests: the line breaks off over the first, a server refuses the second, and the rest is resumed by hand."""
    pictures = [upload(f"{number:02}.jpg", scene() + bytes([number])) for number in range(20)]
    requests = []
    problem = {"title": "Out of order", "detail": "Not now.", "code": "internal_error"}

    def meddle(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        requests.append(route.request)
        if len(requests) == 1:
            route.abort("connectionreset")
        elif len(requests) == 2:
            route.fulfill(status=408, json=problem)
        elif len(requests) == 4:
            route.fulfill(status=500, json=problem)
        else:
            route.continue_()

    page.route("**/items", meddle)
    add(page, pictures)
    expect(page.locator("#add-status")).to_contain_text("8 of 20 are added")
    expect(page.locator("#add-sent")).to_be_hidden()
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("12 added")
    assert len(requests) == 6  # 8, 8 and 4 pictures, the first twice more, the second once more
    names = sorted(name for name, _ in enrolled(worker, settings))
    assert names == [f"{number:02}.jpg" for number in range(20)]


def test_labels_that_are_shown_are_made_though_the_line_breaks_off_and_some_are_bad(
    worker: Worker, page: Page, settings: Settings, tmp_path: Path
) -> None:
    """Labels from names, shrinking, resuming and bad pictures at once; all of the second request are bad."""
    page.request.post("/v1/galleries", data={"name": "other"})
    page.request.post("/v1/galleries", data={"name": "parts"})
    page.reload()
    page.get_by_label("Recognise against").select_option("parts")
    good = [upload(f"cafe\u0301-{number}.jpg", scene() + bytes([number])) for number in range(8)]
    bad = [{"name": f"bad-{number}.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"} for number in range(8)]
    last = [upload("SKU-1001\u202e.jpg", phone_photo(3)), upload("._tea.jpg", scene())]
    page.get_by_label("Pictures, one product in each").set_input_files([*good, *bad, *last])
    page.get_by_label("Labels", exact=True).select_option("file")
    expect_labels(page, ["caf\u00e9", "bad", "SKU-1001"])
    expect(page.locator("#add-preview-list .names").last).to_have_text("← SKU-1001.jpg")
    keep(page, "10-labels", tmp_path)
    page.set_viewport_size({"width": 360, "height": 740})  # a phone's
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep(page, "10-labels-phone", tmp_path)
    requests = []

    def meddle(route: Route) -> None:
        requests.append(route.request)
        if len(requests) == 1:
            page.get_by_label("Recognise against").select_option("other")  # to look at it meanwhile
        if len(requests) == 3:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/parts/items", meddle)
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("9 added, 8 not usable:", timeout=60_000)
    expect(page.locator("#add-status li").first).to_contain_text("bad-0.jpg: This is not a picture")
    keep(page, "11-added", tmp_path)
    found = [item.label for item in GalleryStore(open_store(settings.objects, settings.data_dir)).items("parts")]
    assert sorted(found) == sorted(["caf\u00e9"] * 8 + ["SKU-1001"])
    expect(page.locator("#add-preview")).to_be_hidden()


def test_a_photo_whose_answer_was_lost_is_sent_again_and_made_once(worker: Worker, page: Page) -> None:
    """The service takes it, the line breaks off before its answer: the repetition gets the same job."""
    enrolled_drinks(page)
    worker.may_finish.set()
    tries = []

    def lose(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        tries.append(route.request.headers["idempotency-key"])
        answer = route.fetch()
        if len(tries) == 1:
            route.abort("connectionreset")
        else:
            route.fulfill(response=answer)

    page.route("**/v1/recognitions", lose)
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    assert len(tries) == 2
    assert len(set(tries)) == 1
    assert len(page.request.get("/v1/recognitions").json()["recognitions"]) == 1

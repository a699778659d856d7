"""What is not sure enough, on the page: candidates to confirm, features that agree, and looking again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, keep, scene, upload
from tests.web.page.stand_in import Worker


def test_what_is_not_sure_enough_can_be_confirmed_and_looked_at_again(
    worker: Worker, page: Page, tmp_path: Path
) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.locator("#options > summary").click()
    page.get_by_label("Answers that should be right").fill("0.95")
    expect(page.locator("#min-precision-shown")).to_have_text("95 %")
    page.get_by_label("Compare feature by feature").select_option("always")
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    options = page.request.get(f"/v1/recognitions/{page.url.rpartition('#')[2]}").json()["request"]["options"]
    assert (options["min_precision"], options["verify"]) == (0.95, "always")

    unsure = page.locator("#unsure-A")
    expect(unsure.locator(".guesses li")).to_have_count(2)
    expect(unsure.locator(".guess")).to_have_text(["40 % green tea", "15 % cola"])
    for picture in unsure.locator(".guesses img").all():
        expect(picture).to_have_js_property("naturalWidth", 120)
    grey = unsure.locator(".seen canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0.2 * canvas.width, 0.8 * canvas.height, 1, 1).data]"
    )
    assert grey[:3] == pytest.approx([0x9A] * 3, abs=6)  # the part of the photo in question
    keep(page, "7-unsure", tmp_path)
    unsure.get_by_role("button", name="This is it: cola").click()
    expect(unsure.locator(".status")).to_contain_text("Added as cola")
    expect(page.locator("#items li")).to_have_text(["green tea", "cola", "cola"])
    added = page.request.get("/v1/galleries/drinks/items").json()["items"][2]
    assert (added["label"], added["box"]) == ("cola", [400, 120, 560, 400])
    drawn = page.locator("#items canvas")  # the part alone, not the whole photo
    grey = drawn.evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0.2 * canvas.width, 0.8 * canvas.height, 1, 1).data]"
    )
    assert grey[:3] == pytest.approx([0x9A] * 3, abs=6)

    first = page.url
    page.locator("#changed").get_by_role("button", name="Look again").click()
    expect(page).not_to_have_url(first)
    expect(page.locator("#state")).to_have_text("Done: 3 products recognised.")
    expect(page.locator("#rows h3 .label")).to_have_text(["green tea", "cola", "cola"])  # recognised the next time
    expect(page.locator("#unsure")).to_be_hidden()


def test_a_photo_that_is_gone_is_not_sent_again(worker: Worker, page: Page, settings: Settings) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    first = page.url
    job = worker.ledger.get(first.rpartition("#")[2])
    open_store(settings.objects, settings.data_dir).delete(job.request["image"]["key"])
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#photo-error")).to_contain_text("(object_not_found)")
    expect_accessible(page)
    assert page.url == first  # nothing was sent
    expect(page.locator("#tags .tag")).to_have_count(3)  # and the answer stands


def test_every_unsure_object_has_a_name_of_its_own(page: Page) -> None:
    names = page.evaluate(
        """import("/static/objects.js").then(({ letter }) => [...Array(100).keys()].map((number) => letter(number)))"""
    )
    assert names[:28] == [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB"]
    assert len(set(names)) == 100


def test_the_features_that_agree_are_drawn(worker: Worker, page: Page, tmp_path: Path) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    page.get_by_text("23 features agree with the picture", exact=True).click()
    drawn = page.locator(".evidence canvas")
    expect(drawn).to_have_attribute("aria-label", re.compile("23 features agree .* green tea"))
    # One point is where a line begins: at the fraction of the photo that the answer says, within the box.
    at = drawn.evaluate(
        """canvas => {
          const density = canvas.height / 260, width = 260 * 200 / 330;
          const x = (0.2 * 640 - 60) / 200 * width, y = (0.8 * 480 - 90) / 330 * 260;
          return [...canvas.getContext('2d').getImageData(x * density, y * density, 1, 1).data];
        }"""
    )
    assert at[:3] != pytest.approx([0x2F, 0x7D, 0x4F], abs=40)  # no longer the product's green
    keep(page, "8-evidence", tmp_path)


def test_the_features_that_agree_are_drawn_of_what_is_dropped_too(worker: Worker, page: Page, tmp_path: Path) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose photos").set_input_files(upload("unsure.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    unsure = page.locator("#unsure-A")
    unsure.get_by_text("23 features agree with the picture of cola").click()
    expect(unsure.locator(".evidence canvas")).to_have_attribute("aria-label", re.compile("23 features agree .* cola"))
    page.locator("#dropped-panel > summary").click()
    covered = page.locator("#dropped li")
    covered.get_by_text("23 features agree").click()
    expect(covered.locator(".evidence canvas")).to_be_visible()
    keep(page, "9-evidence-of-dropped", tmp_path)

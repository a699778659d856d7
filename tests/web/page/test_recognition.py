"""The page in a real browser: a newcomer's whole way, from an empty service to a label over a photo; and errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, keep, product, scene, upload
from tests.web.page.stand_in import Worker


def test_a_newcomer_gets_from_nothing_to_a_recognised_photo(worker: Worker, page: Page, tmp_path: Path) -> None:
    expect(page.locator("#ready")).to_have_text("Ready")
    keep(page, "1-empty", tmp_path)
    expect_accessible(page)

    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")

    pictures = [upload("green-tea_1.jpg", product("#2f7d4f")), upload("cola 02.jpg", product("#b3202a"))]
    page.get_by_label("Pictures, one product in each").set_input_files(pictures)
    page.get_by_label("Labels", exact=True).select_option("file")
    expect(page.locator("#add-preview-list .names")).to_have_text(["← green-tea_1.jpg", "← cola 02.jpg"])
    expect(page.locator("#add-preview-list input").last).to_have_value("cola")
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("2 added")
    expect(page.locator("#items li")).to_have_text(["green tea", "cola"])

    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_contain_text("A worker is looking")
    keep(page, "2-processing", tmp_path)
    expect_accessible(page)
    worker.may_finish.set()

    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#tags .tag")).to_have_text(["A green tea ?", "1 green tea 97 %", "2 cola 91 %"])
    expect(page.locator("#boxes rect.line")).to_have_count(2)
    expect(page.locator("#rows > li")).to_have_count(2)
    expect(page.locator("#rows > li").first).to_contain_text("green tea")
    expect(page.locator("#dropped li")).to_have_text([re.compile("another recognition covers it")])
    expect(page.locator("#decision")).to_contain_text(
        "a probability of at least 62 %, so that 90 % of them should be right"
    )
    expect(page.locator("#decision")).to_contain_text("to this gallery's own pictures (40 queries)")
    expect(page.locator("#timings")).to_contain_text("embed")
    box = page.locator("#boxes rect.line").first.bounding_box()
    shown = page.locator("#shown").bounding_box()
    assert box is not None
    assert shown is not None
    assert box["x"] - shown["x"] == pytest.approx(60 * shown["width"] / 640, abs=4)  # drawn where the body is
    assert page.locator("#rows .sides img").first.evaluate("image => image.naturalWidth") == 120
    keep(page, "3-answer", tmp_path)
    expect_accessible(page)

    for width, height, scheme in ((390, 844, "light"), (1280, 900, "dark"), (390, 844, "dark")):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        keep(page, f"4-answer-{width}-{scheme}", tmp_path)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"the page is wider than {width} px"

    page.reload()  # the address names the job
    expect(page.locator("#tags .tag")).to_have_count(3)
    expect(page.locator("#caption")).to_have_text("shelf.jpg")


def test_an_answer_of_an_earlier_version_is_drawn(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose photos").set_input_files(upload("old.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#tags .tag")).to_have_text(["1 green tea –", "2 cola –"])
    expect(page.locator("#rows > li").first.locator(".chance")).to_have_text("–")
    expect(page.locator("#dropped li")).to_have_count(2)
    expect(page.locator("#decision")).to_be_empty()
    expect(page.locator("#timings")).to_contain_text("embed")


def test_errors_are_shown_in_words_with_their_code(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#photo-error")).to_contain_text("Create a gallery")
    page.get_by_label("Name", exact=True).fill("Bad Name!")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-error")).to_contain_text("gallery_name_invalid")
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Choose photos").set_input_files(upload("notes.jpg", b"these are notes"))
    expect(page.locator("#photo-error")).to_contain_text("image_rejected: image_not_an_image")
    expect(page.locator("#photo-error")).to_contain_text("not a picture")
    keep(page, "5-error", tmp_path)
    expect_accessible(page)


def test_a_failed_and_a_canceled_job_say_so(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Choose photos").set_input_files(upload("broken.jpg", scene()))
    expect(page.locator("#photo-error")).to_contain_text("The picture ends too early. (image_truncated)")
    expect(page.locator("#state")).to_have_text("The job failed.")
    keep(page, "6-failed", tmp_path)
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_contain_text("A worker is looking")
    expect(page.locator("#photo-error")).to_be_empty()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_have_text("Canceled.")


def test_the_whole_way_is_open_to_the_keyboard(worker: Worker, page: Page) -> None:
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"create-name", "Create gallery", "photo", "Options", "Skip to the content"} <= reached
    page.locator("#create-name").focus()
    page.keyboard.type("drinks")
    page.keyboard.press("Enter")
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    assert page.evaluate("document.activeElement.id") == "add-files"

"""The pages of the batches, in a real browser: sent, followed, filtered, downloaded, cancelled."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, keep, scene, upload
from tests.web.page.stand_in import Worker


def test_a_batch_is_sent_followed_and_downloaded(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.goto("/batches")
    expect(page.locator("#none")).to_have_text("No batch yet.")
    expect(page.locator("#no-gallery")).to_be_visible()
    expect_accessible(page)
    page.goto("/")
    enrolled_drinks(page)
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_label("Recognise against")).to_have_value("drinks")
    page.get_by_role("button", name="Send the photos").click()
    expect(page.locator("#new-error")).to_contain_text("Choose photos first")
    names = ["one.jpg", "broken.jpg", "unsure.jpg"]
    page.get_by_label("Photos", exact=True).set_input_files(
        [*(upload(name, scene()) for name in names), upload("no.jpg", b"no")]
    )
    expect(page.locator("#chosen")).to_have_text("4 photos chosen")
    page.get_by_role("button", name="Send the photos").click()
    expect(page).to_have_url(re.compile(r"/batches/bat_[0-9a-z]{26}$"))
    expect(page.locator("#done")).to_have_text(re.compile(r"^[12] of 4 done$"))
    expect(page.locator("#rows tr").nth(3)).to_contain_text("not usable")
    expect(page.locator("#rows tr").nth(3)).to_contain_text("image_not_an_image")
    expect_accessible(page)
    worker.may_finish.set()
    expect(page.locator("#state")).to_have_text("completed")  # it follows by itself
    expect(page.locator("#done")).to_have_text("4 of 4 done")
    rows = page.locator("#rows tr")
    expect(rows.nth(0)).to_contain_text("green tea 97 %, cola 91 %")
    expect(rows.nth(1)).to_contain_text("image_truncated The picture ends too early.")
    expect(page.get_by_role("button", name="Cancel the batch")).to_be_hidden()
    keep(page, "batch", tmp_path)
    expect_accessible(page)
    page.get_by_label("Status").select_option("failed")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("broken.jpg")
    page.get_by_label("Status").select_option("")
    for name, begin in (("CSV", "index,name,job_id"), ("NDJSON", '{"index": 0')):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Answers as {name}").click()
        saved = tmp_path / name
        download.value.save_as(saved)
        assert saved.read_text(encoding="utf-8").startswith(begin)
    lines = (tmp_path / "NDJSON").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["name"] for line in lines] == [*names, "no.jpg"]
    rows.first.get_by_role("link").click()
    expect(page.locator("#caption")).to_have_text("one.jpg")
    page.goto("/batches")
    expect(page.locator("#rows tr")).to_contain_text(["4 of 4 done, 2 without answer"])
    keep(page, "batches", tmp_path)
    expect_accessible(page)
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#rows tr")).to_contain_text(["4 张照片"])
    expect_accessible(page)


def test_a_batch_is_given_up_with_the_keyboard(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    sent = page.request.post(
        "/v1/batches", multipart={"gallery": "drinks", "images": upload("one.jpg", scene())}
    ).json()
    page.goto(f"/batches/{sent['id']}")
    page.get_by_role("button", name="Cancel the batch").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Give up all photos")
    expect_accessible(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Cancel the batch").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the batch").click()
    expect(page.locator("#state")).to_have_text("canceled")


def test_many_photos_come_by_pages(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    # Playwright's own requests take one file a name: the page's script sends the many.
    made = page.evaluate(
        """async (photo) => {
          const bytes = Uint8Array.from(photo);
          const form = new FormData();
          form.set("gallery", "drinks");
          for (let n = 0; n < 30; n += 1) form.append("images", new File([bytes], `${n}.jpg`, {type: "image/jpeg"}));
          return (await (await fetch("/v1/batches", {method: "POST", body: form})).json()).id;
        }""",
        list(scene()),
    )
    page.goto(f"/batches/{made}")
    expect(page.locator("#page-facts")).to_have_text("1 to 25 of 30")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page-facts")).to_have_text("26 to 30 of 30")
    expect(page.locator("#rows tr").last).to_contain_text("green tea")
    expect(page.locator("#answers-heading")).to_be_focused()
    page.get_by_role("button", name="Previous page").click()
    expect(page.locator("#rows tr")).to_have_count(25)


@pytest.mark.parametrize("batch_id", ["bat_0", "bat_01kegs8w2yx4vqh0kqd5yt7g3r"])
def test_an_unknown_batch_is_said_to_be_none(page: Page, batch_id: str) -> None:
    page.goto(f"/batches/{batch_id}")
    expect(page.locator("#error")).to_contain_text("No such batch.")
    expect_accessible(page)

"""The pages of the jobs and of the service, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import EMBEDDER
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, keep, scene, upload
from tests.web.page.stand_in import Worker


def send(page: Page, name: str) -> None:
    form = {"gallery": "drinks", "image": upload(name, scene())}
    assert page.request.post("/v1/recognitions", multipart=form, headers={"Prefer": "wait=10"}).ok


def test_jobs_are_listed_filtered_and_opened(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.goto("/jobs")
    expect(page.locator("#none")).to_have_text("No such job.")
    expect_accessible(page)
    page.goto("/")
    enrolled_drinks(page)
    worker.may_finish.set()
    for name in ("one.jpg", "broken.jpg", "three.jpg"):
        send(page, name)
    page.get_by_role("link", name="Jobs").click()
    rows = page.locator("#rows tr")
    expect(rows.locator("a")).to_have_text(["three.jpg", "broken.jpg", "one.jpg"])
    expect(rows.nth(0)).to_contain_text("green tea, cola")
    expect(rows.nth(0).locator("td").last).to_have_text(re.compile(r"^\d+\.\d s$"))
    expect(rows.nth(1)).to_contain_text("image_truncated")
    keep(page, "jobs", tmp_path)
    expect_accessible(page)
    page.get_by_label("Status").select_option("failed")
    expect(rows).to_have_count(1)
    page.get_by_label("Status").select_option("")
    page.get_by_label("Label found").fill("cola")
    expect(rows).to_have_count(2)
    page.get_by_label("Kind").select_option("enrollments")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("1 added")
    page.get_by_label("Kind").select_option("recognitions")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link").click()
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#caption")).to_have_text("three.jpg")


def test_more_jobs_than_a_page_has(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    for number in range(30):
        worker.ledger.create(
            "recognition",
            {"gallery": "drinks", "image": {"key": "images/00/00", "name": f"{number}.jpg"}, "options": {}},
        )
    worker.may_finish.set()
    page.goto("/jobs")
    expect(page.locator("#rows tr")).to_have_count(25)
    page.get_by_role("button", name="Older jobs").click()
    expect(page.locator("#rows tr")).to_have_count(30)
    expect(page.get_by_role("button", name="Older jobs")).to_be_hidden()


def test_the_service_is_shown(worker: Worker, page: Page, tmp_path: Path) -> None:
    network = {"name": "shitu-embedder", "digest": EMBEDDER, "engine": "openvino", "precision": "fp32"}
    worker.ledger.presence.worker_ready(
        "worker-1", {"models": {"detector": None, "embedder": network}, "queues": ["recognize"]}, ttl_s=600
    )
    enrolled_drinks(page)
    page.get_by_role("link", name="System").click()
    expect(page.locator("#checks .succeeded")).to_have_count(3)
    expect(page.locator("#workers tr")).to_have_count(1)
    expect(page.locator("#workers li")).to_have_text(["Embedder: shitu-embedder · aaaaaaaa · openvino fp32"])
    expect(page.locator("#finished tr").first).to_contain_text("Enrolment")
    worker.may_finish.set()
    send(page, "one.jpg")
    expect(page.locator("#finished")).to_contain_text("Recognition")  # it renews itself
    expect(page.locator("#rate")).to_have_text(re.compile(r"^[1-9][\d.]* jobs a minute"))
    keep(page, "system", tmp_path)
    expect_accessible(page)


def test_a_page_without_a_service_says_so(page: Page) -> None:
    page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    for path in ("/jobs", "/system", "/galleries", "/galleries/drinks"):
        page.goto(path)
        expect(page.locator("#error")).to_contain_text("The service did not answer.")
        expect_accessible(page)


@pytest.mark.slow  # axe looks at thousands of elements
def test_the_reference_opens_at_every_route_without_a_script_of_its_own(page: Page, tmp_path: Path) -> None:
    page.goto("/docs")
    expect(page.get_by_role("heading", level=1)).to_have_text("API reference")
    call = page.locator("#createRecognition")
    call.locator("summary").click()
    expect(call).to_contain_text("Idempotency-Key")
    call.get_by_role("link", name="RecognitionJob").first.click()
    record = page.locator("#RecognitionJob")
    expect(record).to_be_in_viewport()
    record.locator("summary").click()
    expect(record.locator("pre")).to_contain_text('"status": "succeeded"')
    keep(page, "reference", tmp_path)
    expect_accessible(page)

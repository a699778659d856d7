"""The pages of the webhook endpoints, in a real browser, with a real receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from infra.jobs.ledger import JobLedger, open_ledger
from infra.runtime.settings import Settings
from tests.infra.local_servers import Server, serving
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import keep
from tests.web.page.courier import Courier

URL = "https://hooks.example/shitu"


@pytest.fixture
def receiver() -> Iterator[Server]:
    with serving() as server:
        server.paths["/good"] = (200, {}, b"thanks")
        server.paths["/bad"] = (503, {}, b"<b>not now</b>")
        server.paths["/gone"] = (410, {}, b"")
        yield server


@pytest.fixture
def ledger(settings: Settings) -> Iterator[JobLedger]:
    with Courier(settings):
        yield open_ledger(settings)


def registered(page: Page, ledger: JobLedger, address: str) -> str:
    """An endpoint at this machine, where the service itself registers none; opened on the page."""
    made = page.request.post("/v1/webhooks", data={"url": URL}).json()["id"]
    ledger.endpoints.update(made, url=address)
    page.goto(f"/webhooks/{made}")
    expect(page.locator("#webhook-heading")).to_have_text(address)
    return str(made)


def ended(ledger: JobLedger) -> None:
    job = ledger.create("recognition", {"gallery": "drinks", "image": {"key": "photos/0"}, "options": {}})
    lease = ledger.start(job.id)
    assert lease is not None
    assert ledger.fail(lease, {"code": "image_truncated", "message": "It ends too early.", "retryable": False})


def test_an_endpoint_is_registered_with_its_secret_shown_once(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    page.get_by_role("link", name="Webhooks").click()
    expect(page.locator("#none")).to_have_text("No endpoint is registered.")
    expect_accessible(page)
    page.get_by_label("URL").fill("ftp://shop.example")
    page.get_by_role("button", name="Register").click()
    expect(page.locator("#new-error")).to_contain_text("url_invalid")
    page.get_by_label("URL").fill(URL)
    page.get_by_label("Description").fill("the shop")
    page.get_by_label("Everything").uncheck()
    page.get_by_role("button", name="Register").click()
    expect(page.locator("#new-error")).to_contain_text("invalid_request")
    page.locator("#events summary").first.click()
    page.get_by_label("recognition.failed").check()
    page.get_by_role("button", name="Register").click()
    expect(page.locator("#made code")).to_contain_text("whsec_")
    expect(page.locator("#rows tr")).to_contain_text([URL])
    expect(page.locator("#rows tr")).to_contain_text(["recognition.failed"])
    keep(page, "webhooks", tmp_path)
    expect_accessible(page)
    page.reload()
    expect(page.locator("#rows a")).to_have_text([URL])
    assert "whsec_" not in page.content()
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#rows tr")).to_contain_text(["已启用"])
    expect_accessible(page)


def test_messages_are_sent_logged_and_sent_again(
    page: Page, ledger: JobLedger, receiver: Server, tmp_path: Path
) -> None:
    registered(page, ledger, receiver.url("/good"))
    expect(page.locator("#log-none")).to_have_text("No message yet.")
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#said")).to_have_text("The test was taken: HTTP 200.")
    entry = page.locator("#log > li")
    expect(entry).to_have_count(1)
    ended(ledger)
    expect(page.locator("#log > li")).to_have_count(1)
    page.get_by_role("button", name="Look again").click()
    expect(entry).to_have_count(2)
    expect(entry.first.locator("summary")).to_contain_text("recognition.failed")
    entry.first.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(entry.first.get_by_role("group", name="What is sent")).to_contain_text('"code": "image_truncated"')
    expect(entry.first.get_by_role("group", name="What was answered")).to_have_text("thanks")
    keep(page, "webhook", tmp_path)
    expect_accessible(page)
    before = len(receiver.requests)
    entry.first.get_by_role("button", name="Send again").click()
    expect(page.locator("#log-heading")).to_be_focused()
    page.get_by_label("Status").select_option("failed")
    expect(page.locator("#log-none")).to_have_text("No message yet.")
    page.get_by_label("Status").select_option("")
    page.locator("#message-log > details summary").click()
    page.get_by_label("Since").fill("2020-01-01T00:00")
    page.get_by_label("Which").select_option("all")
    page.locator("#replay").get_by_role("button", name="Send again").click()
    expect(page.locator("#replayed")).to_have_text("1 message is sent again.")  # a test is none of its messages
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#log .state")).to_have_text(["delivered", "delivered"])
    assert len(receiver.requests) == before + 2
    assert {json.loads(body)["type"] for _, _, _, body in receiver.requests} == {"webhook.test", "recognition.failed"}
    expect_accessible(page)


def test_what_is_not_taken_is_shown_with_its_answer_and_can_be_stopped(
    page: Page, ledger: JobLedger, receiver: Server
) -> None:
    registered(page, ledger, receiver.url("/bad"))
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#said")).to_contain_text("The test was not taken:")
    ended(ledger)
    page.get_by_role("button", name="Look again").click()
    entry = page.locator("#log > li").first
    expect(entry.locator("summary")).to_contain_text("pending")
    entry.locator("summary").click()
    expect(entry.get_by_role("group", name="What was answered")).to_have_text("<b>not now</b>")
    expect(entry).to_contain_text("Next attempt:")
    expect_accessible(page)
    entry.get_by_role("button", name="Stop").click()
    expect(page.locator("#log .state").first).to_have_text("stopped")
    page.reload()
    expect(page.locator("#state")).to_contain_text("1 failure since")


def test_one_that_is_gone_is_disabled_and_enabled_rotated_and_changed(
    page: Page, ledger: JobLedger, receiver: Server
) -> None:
    webhook = registered(page, ledger, receiver.url("/gone"))
    ended(ledger)
    page.wait_for_function("async (id) => !(await (await fetch(`/v1/webhooks/${id}`)).json()).enabled", arg=webhook)
    page.reload()
    expect(page.locator("#state")).to_contain_text("it answered 410 Gone, since")
    expect_accessible(page)
    page.get_by_role("button", name="Enable").click()
    expect(page.locator("#state")).to_contain_text("enabled")
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("#state")).to_contain_text("by request, since")
    page.get_by_text("New secret", exact=True).click()
    page.get_by_role("button", name="Make a new secret").click()
    expect(page.locator("#said code")).to_contain_text("whsec_")
    expect(page.locator("#facts")).to_contain_text("Public key before, valid until")
    page.get_by_text("Change", exact=True).click()
    expect(page.get_by_label("Everything")).to_be_checked()
    page.get_by_label("URL").fill(URL)
    page.get_by_label("Description").fill("moved")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#webhook-heading")).to_have_text(URL)
    expect(page.locator("#facts")).to_contain_text("moved")
    expect_accessible(page)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#none")).to_have_text("No endpoint is registered.")
    page.goto(f"/webhooks/{webhook}")
    expect(page.locator("#error")).to_contain_text("No such webhook.")
    expect_accessible(page)

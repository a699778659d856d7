"""The page of the API keys, in a real browser: for who may make them, for who may not, and where none are required."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from contracts.keys import Scope
from infra.keys.store import KeyStore
from infra.redis.client import open_client
from infra.runtime.settings import Settings
from tests.web.keyed import with_keys
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import keep
from tests.web.serving import serving


@pytest.fixture(scope="module")
def guarded(house: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that requires keys, on the Redis and the data of the other one."""
    settings: Settings = house.settings  # type: ignore[attr-defined]
    with serving(with_keys(settings), tmp_path_factory.mktemp("guarded") / "web.log") as url:
        yield url


def signed_in(browser: Browser, url: str, settings: Settings, name: str, scope: Scope) -> Page:
    _, token = KeyStore(open_client(settings)).create(name, [scope])
    page = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900}).new_page()
    page.goto("/signin")
    page.get_by_label("API key").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name=f"Key: {name}")).to_be_visible()
    return page


def test_keys_are_made_shown_once_and_revoked(
    browser: Browser, guarded: str, settings: Settings, tmp_path: Path
) -> None:
    page = signed_in(browser, guarded, settings, "Mei", Scope.ADMIN)
    page.get_by_role("link", name="Keys").click()
    expect(page.locator("#rows tr")).to_contain_text(["(yours)"])
    expect_accessible(page)
    page.get_by_label("Name").fill("till 3")
    page.get_by_label("Expires").select_option("30")
    page.locator("#new summary").click()
    page.get_by_label("Requests a minute").fill("60")
    page.get_by_role("button", name="Make the key").click()
    shown = page.locator("#made code")
    expect(shown).to_contain_text("shitu_")
    token = shown.text_content()
    row = page.locator("#rows tr").nth(1)
    expect(row).to_contain_text("till 3")
    expect(row).to_contain_text("recognise")
    expect(row).to_contain_text("Requests a minute: 60")
    keep(page, "keys", tmp_path)
    expect_accessible(page)
    found = KeyStore(open_client(settings)).find(token or "")
    assert (found.name, found.scopes, found.limits.requests_per_minute) == ("till 3", (Scope.RECOGNIZE,), 60)
    page.reload()
    expect(row).to_contain_text("till 3")
    assert (token or "?") not in page.content()
    page.get_by_role("button", name="Revoke the key till 3").click()
    expect(page.get_by_role("dialog")).to_contain_text("locked out at once")
    expect_accessible(page)
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#rows tr")).to_have_count(2)
    page.get_by_role("button", name="Revoke the key till 3").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator("#made")).to_have_text("till 3 is revoked.")
    expect(page.locator("#keys-heading")).to_be_focused()
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("API 密钥")
    expect_accessible(page)
    page.get_by_role("button", name="撤销密钥 Mei").click()
    page.get_by_role("dialog").get_by_role("button", name="撤销").click()
    expect(page.get_by_role("heading", name="使用密钥登录")).to_be_visible()  # the way back in is shut
    page.context.close()


def test_a_narrower_key_is_reported_so_and_is_led_nowhere(browser: Browser, guarded: str, settings: Settings) -> None:
    page = signed_in(browser, guarded, settings, "till", Scope.RECOGNIZE)
    links = page.get_by_role("navigation").get_by_role("link")
    expect(links).to_have_text(["Recognise", "Galleries", "Jobs", "Batches", "System"])
    for path, scope in (("/keys", "admin"), ("/webhooks", "manage"), ("/webhooks/whk_0", "manage")):
        page.goto(path)
        expect(page.locator(".notice.bad")).to_contain_text(f"This needs a key with the scope {scope}.")
        expect(page.get_by_role("button", name="Make the key")).to_have_count(0)
        expect(page.locator("form")).to_have_count(0)
        expect_accessible(page)
    page.context.close()


def test_where_no_keys_are_required_the_page_says_so(page: Page) -> None:
    expect(page.get_by_role("navigation").get_by_role("link", name="Webhooks")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link", name="Keys")).to_have_count(0)
    page.goto("/keys")
    expect(page.get_by_text("This service requires no key")).to_be_visible()
    expect(page.locator("table, form")).to_have_count(0)
    expect_accessible(page)

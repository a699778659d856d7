"""Signing in in a real browser: the page works behind the cookie, which no script sees, and shuts again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from contracts.keys import Scope
from infra.keys.store import KeyStore
from infra.redis.client import open_client
from infra.runtime.settings import Settings
from tests.web.keyed import with_keys
from tests.web.page.accessibility import expect_accessible
from tests.web.serving import serving

# A photo sent, followed by an event stream, and shown: neither of the last two can send a header.
FOLLOW = """async () => {
  const photo = new OffscreenCanvas(64, 64);
  photo.getContext("2d").fillRect(0, 0, 32, 32);
  const form = new FormData();
  form.set("gallery", "drinks");
  form.set("image", await photo.convertToBlob({type: "image/png"}), "a.png");
  const job = await (await fetch("/v1/recognitions", {method: "POST", body: form})).json();
  const status = await new Promise((done) => {
    const stream = new EventSource(job.links.events);
    stream.addEventListener("status", (event) => { stream.close(); done(JSON.parse(event.data).status); });
    stream.onerror = () => { stream.close(); done("refused"); };
  });
  const shown = new Image();
  shown.src = `${job.links.self}/image`;
  await shown.decode();
  return [status, shown.naturalWidth];
}"""


@pytest.fixture
def base_url(settings: Settings, tmp_path: Path) -> Iterator[str]:
    with serving(with_keys(settings), tmp_path / "web.log") as url:
        yield url


def test_a_visitor_signs_in_works_and_signs_out(browser: Browser, base_url: str, settings: Settings) -> None:
    _, token = KeyStore(open_client(settings)).create("Mei", [Scope.MANAGE])
    context = browser.new_context(base_url=base_url)
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in with a key")).to_be_visible()
    expect_accessible(page)
    page.get_by_label("API key").fill("shitu_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no valid key of this service")
    page.get_by_label("API key").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{base_url}/")
    made = """() => fetch("/v1/galleries", {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({name: "drinks"})}).then((answer) => answer.status)"""
    assert page.evaluate(made) == 201
    assert page.evaluate("() => document.cookie") == ""
    assert page.evaluate(FOLLOW) == ["queued", 64]
    page.goto("/signin")
    expect(page.get_by_text("With the key Mei")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in with a key")).to_be_visible()
    assert page.evaluate("() => fetch('/v1/galleries').then((answer) => answer.status)") == 401
    context.close()

"""The page as an installed app, in a real browser: manifest, icons, what is kept, and no connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from infra.runtime.settings import Settings
from tests.web.page.accessibility import expect_accessible
from tests.web.serving import serving
from web.pages.icons import FOLDER, ICONS, draw

ROOT = "/shop/shitu"


@pytest.mark.parametrize("name", ICONS)
def test_the_icons_are_what_the_script_draws(name: str) -> None:
    side, maskable = ICONS[name]
    with Image.open(FOLDER / name) as kept:
        assert np.array_equal(np.asarray(kept.convert("RGBA")), np.asarray(draw(side, maskable=maskable)))


@pytest.fixture
def below(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """A server below a path of its host."""
    moved = replace(settings, web=replace(settings.web, root_path=ROOT))
    with serving(moved, tmp_path / "web.log") as url:
        yield url


def opened(browser: Browser, url: str) -> Page:
    """A page whose worker is at work."""
    page = browser.new_context(base_url=url).new_page()
    page.goto(url)
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page.reload()
    assert page.evaluate("navigator.serviceWorker.controller !== null")
    return page


def test_it_can_be_installed_below_a_path_and_keeps_its_own_files_alone(browser: Browser, below: str) -> None:
    page = opened(browser, f"{below}{ROOT}/")
    session = page.context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert (manifest["errors"], manifest["url"]) == ([], f"{below}{ROOT}/manifest.webmanifest")
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] in (
        [],
        [{"errorId": "in-incognito", "errorArguments": []}],  # as every test's browser is
    )
    report = page.request.get(f"{below}{ROOT}/manifest.webmanifest").json()
    assert (report["start_url"], report["scope"]) == (f"{ROOT}/", f"{ROOT}/")
    for icon in report["icons"]:
        assert page.request.get(f"{below}{icon['src']}").headers["content-type"] == icon["type"] + (
            "; charset=utf-8" if icon["type"].endswith("svg+xml") else ""
        )
    page.goto(f"{below}{ROOT}/galleries")
    page.goto(f"{below}{ROOT}/jobs")
    kept = page.evaluate(
        """async () => {
          const found = [];
          for (const name of await caches.keys()) for (const {url} of await (await caches.open(name)).keys()) found.push(new URL(url).pathname);
          return found;
        }"""
    )
    assert f"{ROOT}/static/shell.js" in kept
    assert {path for path in kept if not path.startswith(f"{ROOT}/static/")} == {f"{ROOT}/offline"}
    page.context.close()


def test_without_a_connection_it_says_so_and_comes_back(browser: Browser, base_url: str) -> None:
    page = opened(browser, f"{base_url}/")
    page.context.set_offline(True)
    page.goto(f"{base_url}/jobs")
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    expect_accessible(page)  # its own styles and scripts are there
    expect(page.locator("#ready")).to_contain_text("Not ready.")
    page.context.set_offline(False)
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="Photos")).to_be_visible()
    page.context.close()

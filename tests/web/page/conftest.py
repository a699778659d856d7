"""A real browser on the page of a real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from infra.runtime.settings import Settings
from tests.web.page.stand_in import Worker
from tests.web.serving import serving

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def base_url(settings: Settings, tmp_path: Path) -> Iterator[str]:
    with serving(replace(settings, web=replace(settings.web, threads=16)), tmp_path / "web.log") as url:
        yield url


@pytest.fixture
def page(browser: Browser, base_url: str) -> Iterator[Page]:
    """A page on a desk's screen that fails the test for any error of its script or policy."""
    context = browser.new_context(base_url=base_url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(base_url)
    yield page
    context.close()
    # The browser itself reports answers of 4xx and 5xx; those are shown to the user as they should be.
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    with Worker(settings) as worker:
        yield worker

"""A real browser on the page of a real server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from infra.pictures.fonts import faces
from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.settings import Settings, load_settings
from tests.conftest import WEBHOOK_SECRET
from tests.web.page.actions import SCREENSHOTS
from tests.web.page.stand_in import Worker
from tests.web.serving import serving

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def with_fonts(folder: Path) -> dict[str, str]:
    """Variables by which a browser finds the service's own fonts, so that pictures of the page show every script."""
    places = sorted({str(Path(face).parent) for face in faces() if Path(face).is_absolute()})
    known = "".join(f"<dir>{place}</dir>" for place in places)
    wanted = "".join(
        f"<alias binding='strong'><family>{family}</family><prefer><family>Noto Sans</family></prefer></alias>"
        for family in ("system-ui", "sans-serif")
    )
    system = "<include ignore_missing='yes'>/etc/fonts/fonts.conf</include>"
    report = f"<?xml version='1.0'?><fontconfig>{system}{known}{wanted}<cachedir>{folder}</cachedir></fontconfig>"
    path = folder / "fonts.conf"
    path.write_text(report, encoding="utf-8")
    return {"FONTCONFIG_FILE": str(path)}


@contextmanager
def chromium_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, closed afterwards: no other test of the process can have an event loop while it lives."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: apt-get install chromium")
    environment = {**os.environ, **(with_fonts(tmp_path_factory.mktemp("fonts")) if SCREENSHOTS else {})}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=environment)
        yield chromium
        chromium.close()


@dataclass(frozen=True)
class House:
    """A server for all tests of this folder: starting one takes longer than most of them."""

    settings: Settings
    url: str


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium_of(tmp_path_factory) as chromium:
        yield chromium


@pytest.fixture(scope="package")
def house(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    client = connect(redis_server.url)
    client.flushall()  # a Redis belongs to one installation
    client.close()
    folder = tmp_path_factory.mktemp("house")
    values = {
        "REDIS_URL": redis_server.url,
        "SHITU_DATA_DIR": str(folder / "data"),
        "SHITU_WEBHOOKS__SECRET": WEBHOOK_SECRET,
    }
    settings = load_settings(values)
    with serving(replace(settings, web=replace(settings.web, threads=16)), folder / "web.log") as url:
        yield House(settings, url)


@pytest.fixture
def settings(house: House, redis_url: str) -> Settings:
    """The house, emptied: `redis_url` empties Redis."""
    for path in house.settings.data_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return house.settings


@pytest.fixture
def base_url(house: House, settings: Settings) -> str:
    return house.url


@pytest.fixture
def page(browser: Browser, base_url: str) -> Iterator[Page]:
    """A page on a desk's screen that fails the test for any error of its script or policy."""
    context = browser.new_context(
        base_url=base_url,
        viewport={"width": 1280, "height": 900},
        reduced_motion="reduce",
        service_workers="block",  # routes of a test do not reach what a worker fetches
    )
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

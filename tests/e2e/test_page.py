"""The page with the whole service behind it: a product that the gallery lacks is named once, and known the next time.

`SCREENSHOTS=docs/images` keeps the pictures that the documentation shows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from models.boxes import iou
from models.synth.designs import ProductDesign, design_product
from models.synth.products import packshot
from shitu.cli.demo import FIRST_SEED, PRODUCTS_OF_A_BRAND, draw_scenes
from tests.e2e.service import Service, encode
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import upload
from tests.web.page.conftest import chromium_of


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium_of(tmp_path_factory) as chromium:
        yield chromium


UNSURE = {"below_min_precision", "below_similarity_threshold", "unlike_whole_image"}


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    context = browser.new_context(
        base_url=service.base_url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
    )
    yield context.new_page()
    context.close()


def picture(page: Page, name: str, folder: Path) -> None:
    page.screenshot(path=Path(os.environ.get("SCREENSHOTS") or folder) / f"{name}.png")


def legible_products() -> Iterator[ProductDesign]:
    designs = (design_product(seed) for seed in count(FIRST_SEED, PRODUCTS_OF_A_BRAND))
    return (design for design in designs if design.lettering.script == "latin")


def name_box(page: Page, job: dict[str, Any], box: Any, label: str) -> None:
    """Says what is in `box`: of an answer or of what is not sure enough with a tap, of what was not seen by its sides."""
    result = job["result"]
    unsure = [miss for miss in result["dropped"] if miss["reason"] in UNSURE and miss["candidates"]]
    seen = [(str(at + 1), one) for at, one in enumerate(result["recognitions"])]
    seen += [(chr(ord("A") + at), one) for at, one in enumerate(unsure)]
    wanted = np.asarray([box], np.float32)
    for key, one in seen:
        if one["source"] == "detection" and iou(np.asarray([one["box"]], np.float32), wanted)[0, 0] > 0.5:
            page.get_by_role("button", name=f"{key} is something else").click()
            page.get_by_label(f"What {key} is").fill(label)
            page.keyboard.press("Enter")
            expect(page.locator(f'[data-object="{key}"] .status')).to_have_text(f"Added as {label}.", timeout=30_000)
            return
    page.get_by_role("button", name="Draw a box").click()
    for side, value in zip(("left", "top", "right", "bottom"), box, strict=True):
        page.locator(f"#box-{side}").fill(str(int(value)))
    page.get_by_label("What is in the box").fill(label)
    page.get_by_role("button", name="Add this box").click()
    expect(page.locator("#box-status")).to_have_text(f"Added as {label}.", timeout=30_000)


def test_a_product_named_on_the_page_is_recognised_the_next_time(page: Page, service: Service, tmp_path: Path) -> None:
    products = {f"{one.brand} {one.flavour} {one.kind}": one for one in islice(legible_products(), 24)}
    scene = draw_scenes(list(products.items()))[0]
    unknown, box = scene.labels[0], scene.boxes[0].round().astype(int).tolist()
    service.create_gallery("shop")
    service.enroll("shop", {name: encode(packshot(one, 256)) for name, one in products.items() if name != unknown})

    page.goto("/?gallery=shop")
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", encode(scene.image, quality=95)))
    expect(page.locator("#state")).to_contain_text("Done", timeout=60_000)
    labels = page.locator("#rows h3 .label")
    assert unknown not in labels.all_inner_texts()
    picture(page, "page-answer", tmp_path)
    name_box(page, service.get(f"/v1/recognitions/{page.url.rpartition('#')[2]}"), box, unknown)
    page.locator("#changed").get_by_role("button", name="Look again").click()
    expect(labels.filter(has_text=unknown)).to_have_count(1, timeout=60_000)
    assert len(labels.all_inner_texts()) >= 2
    expect_accessible(page)

    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.locator("#picture").scroll_into_view_if_needed()
    picture(page, "page-phone", tmp_path)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("link", name="Open the gallery").click()
    expect(page.locator("#facts")).to_contain_text("24 pictures")
    expect(page.locator("#grid canvas")).to_have_count(1)  # the corrected part alone, not the whole photo
    picture(page, "page-gallery", tmp_path)
    name = next(iter(products))
    page.get_by_label("Find by a picture").set_input_files(upload("new.png", encode(packshot(products[name], 200))))
    expect(page.locator("#filter")).to_contain_text("Nearest to new.png", timeout=60_000)
    expect(page.locator("#grid li").first).to_contain_text(name)
    expect(page.locator("#grid li").first).to_contain_text(re.compile(r"similarity 0\.[89]|similarity 1"))
    expect_accessible(page)
    picture(page, "page-nearest", tmp_path)
    page.get_by_role("link", name="System").click()
    expect(page.locator("#workers li").first).to_contain_text("shitu-detector")
    picture(page, "page-system", tmp_path)


def test_the_pages_of_batches_mistakes_versions_and_webhooks(page: Page, service: Service, tmp_path: Path) -> None:
    """Each with what the whole service makes of it."""
    products = {f"{one.brand} {one.flavour} {one.kind}": one for one in islice(legible_products(), 12)}
    photos = [encode(scene.image, quality=95) for scene in draw_scenes(list(products.items()))[:3]]
    views = {name: encode(packshot(one, 256)) for name, one in products.items()}
    first, second = list(views)[:2]
    service.create_gallery("kiosk")
    service.enroll("kiosk", views)
    service.enroll("kiosk", {f"{first} (old)": encode(packshot(products[first], 240))})  # one product under two labels
    version = service.get("/v1/galleries/kiosk")["version"]
    page.goto("/galleries/kiosk/lint")
    expect(page.locator(".finding").first).to_contain_text("(old)")
    shown(page)
    expect_accessible(page)
    picture(page, "page-lint", tmp_path)
    page.locator(".finding").first.get_by_role("button").click()
    expect(page.locator("#undo")).to_contain_text("Fixed:")
    items = service.get("/v1/galleries/kiosk/items")["items"]
    gone = next(one for one in items if one["label"] == second)
    assert service.http.delete(f"{service.base_url}/v1/galleries/kiosk/items/{gone['id']}", timeout=30).ok
    page.goto(f"/galleries/kiosk/versions?from={version}")
    expect(page.locator("#summary")).to_contain_text("removed")
    shown(page)
    expect_accessible(page)
    picture(page, "page-versions", tmp_path)

    hook = {"url": f"{service.base_url}/healthz", "events": ["recognition.*"], "description": "the shop's till"}
    webhook = service.http.post(f"{service.base_url}/v1/webhooks", json=hook, timeout=30).json()
    page.goto("/batches")
    expect(page.get_by_label("Recognise against")).to_have_value(re.compile("."))
    page.get_by_label("Recognise against").select_option("kiosk")
    files = [upload(f"shelf-{number}.jpg", photo) for number, photo in enumerate(photos, 1)]
    page.get_by_label("Photos", exact=True).set_input_files([*files, upload("notes.jpg", b"no picture")])
    page.get_by_role("button", name="Send the photos").click()
    expect(page.locator("#state")).to_have_text("completed", timeout=60_000)
    expect(page.locator("#rows tr").nth(0)).to_contain_text("%")
    shown(page)
    expect_accessible(page)
    picture(page, "page-batch", tmp_path)

    page.goto(f"/webhooks/{webhook['id']}")
    expect(page.locator("#log > li")).to_have_count(len(photos))
    page.locator("#log > li summary").first.click()
    expect(page.locator("#log .delivery ol > li").first).to_contain_text("HTTP 405")  # a probe takes no message
    expect_accessible(page)
    page.evaluate("document.getElementById('log-heading').scrollIntoView()")
    picture(page, "page-webhook", tmp_path)


def shown(page: Page) -> None:
    """Waits until the pictures on the screen are there."""
    page.evaluate(
        """() => Promise.all([...document.querySelectorAll("main img")]
          .filter((one) => one.getBoundingClientRect().top < innerHeight)
          .map((one) => one.decode().catch(() => null)))"""
    )

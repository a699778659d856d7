"""Pictures that a browser cannot show, on the page."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from models.pictures.colour import code_points_profile
from models.pictures.image import decode
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, product, scene
from tests.web.page.stand_in import Worker
from worker.previews import keep_preview


def test_what_a_browser_cannot_show_can_be_confirmed(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    data = io.BytesIO()
    Image.open(io.BytesIO(scene())).save(data, "TIFF")
    page.get_by_label("Choose photos").set_input_files(
        {"name": "shelf.tiff", "mimeType": "image/tiff", "buffer": data.getvalue()}
    )
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    frame = page.locator("#shown").bounding_box()  # of the photo's shape, so that the boxes are where they belong
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(640 / 480, rel=0.02)
    page.locator("#unsure-A").get_by_role("button", name="This is it: cola").click()  # the service cuts it out
    expect(page.locator("#unsure-A .status")).to_contain_text("Added as cola")
    expect(page.locator("#items li")).to_have_count(3)


def test_a_gallery_picture_that_a_browser_cannot_show_is_reported(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    data = io.BytesIO()
    Image.open(io.BytesIO(product("#884422"))).save(data, "TIFF")
    form = {"images": {"name": "a.tiff", "mimeType": "image/tiff", "buffer": data.getvalue()}, "labels": "coffee"}
    answer = page.request.post("/v1/galleries/drinks/items", multipart=form, headers={"Prefer": "wait=20"})
    assert answer.ok, answer.text()
    page.reload()
    expect(page.locator("#items li")).to_have_count(3)
    expect(page.locator("#items .blank")).to_have_text(["no preview"])
    expect_accessible(page)
    expect(page.locator("#items img")).to_have_count(2)


def test_what_a_browser_cannot_show_is_shown_as_the_worker_saw_it(
    worker: Worker, page: Page, settings: Settings, tmp_path: Path
) -> None:
    """A TIFF in wide colours: the page's pixels are those of `decode`, of the photo and of a gallery's picture."""
    enrolled_drinks(page)
    data = io.BytesIO()
    with Image.open(io.BytesIO(scene())) as drawn:
        drawn.save(data, "TIFF", icc_profile=code_points_profile(12, 13))
    image = decode(data.getvalue())
    page.get_by_label("Choose photos").set_input_files(
        {"name": "shelf.tiff", "mimeType": "image/tiff", "buffer": data.getvalue()}
    )
    expect(page.locator("#state")).to_have_text("A worker is looking at it…")
    key = json.loads(page.evaluate("fetch('/v1/recognitions/' + location.hash.slice(1)).then((a) => a.text())"))
    keep_preview(
        open_store(settings.objects, settings.data_dir), key["request"]["image"]["key"], data.getvalue(), image
    )
    worker.may_finish.set()
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#caption")).to_have_text("shelf.tiff")
    seen = page.evaluate(
        """() => { const photo = document.getElementById('shown'), canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [photo.naturalWidth, photo.naturalHeight];
        const paper = canvas.getContext('2d'); paper.drawImage(photo, 0, 0);
        return canvas.toDataURL('image/png'); }"""
    )
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(seen.partition(",")[2]))).convert("RGB"))
    assert shown.shape == image.shape
    assert np.abs(shown.astype(int) - image).mean() < 3
    page.locator("#unsure-A").get_by_role("button", name="This is it: cola").click()  # it can be cut out, too
    expect(page.locator("#items li")).to_have_count(3)

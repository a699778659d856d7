"""What a person does on the page, and the pictures that are sent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from tests.web.page.stand_in import Worker

SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a folder to keep the pictures in


def scene() -> bytes:
    """A photo of a shelf with three shapes on it."""
    photo = Image.new("RGB", (640, 480), "#cfc4b0")
    draw = ImageDraw.Draw(photo)
    draw.rectangle((0, 400, 640, 480), fill="#8a6f4d")
    draw.rounded_rectangle((70, 100, 250, 415), 30, fill="#2f7d4f")
    draw.rectangle((70, 220, 250, 320), fill="#f4efe2")
    draw.rounded_rectangle((410, 130, 550, 395), 20, fill="#9a9a9a")
    draw.rounded_rectangle((440, 20, 610, 290), 24, fill="#b3202a")
    return encoded(photo)


def encoded(photo: Image.Image) -> bytes:
    data = io.BytesIO()
    photo.save(data, "JPEG")
    return data.getvalue()


def product(colour: str) -> bytes:
    photo = Image.new("RGB", (120, 160), "#ffffff")
    ImageDraw.Draw(photo).rounded_rectangle((30, 10, 90, 150), 14, fill=colour)
    return encoded(photo)


def phone_photo(seed: int) -> bytes:
    """A large photo as a phone keeps it, lying, to be turned for display: upright its upper half is red."""
    rng = np.random.default_rng(seed)
    lying = rng.integers(0, 60, (1800, 2600, 3), dtype=np.uint8)
    lying[:, :1300, 0] += 180  # the left half, which the turn by 90 degrees clockwise brings up
    lying[:, 1300:, 2] += 180
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(lying).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def keep(page: Page, name: str, folder: Path) -> None:
    page.screenshot(path=Path(SCREENSHOTS or folder) / f"{name}.png", full_page=True)


def upload(name: str, data: bytes) -> Any:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def enrolled_drinks(page: Page) -> None:
    """A gallery of two products, made over HTTP as a program would."""
    for path, body in (
        ("/v1/galleries", {"data": {"name": "drinks"}}),
        (
            "/v1/galleries/drinks/items",
            {"multipart": {"images": upload("t.jpg", product("#2f7d4f")), "labels": "green tea"}},
        ),
        (
            "/v1/galleries/drinks/items",
            {"multipart": {"images": upload("c.jpg", product("#b3202a")), "labels": "cola"}},
        ),
    ):
        answer = page.request.post(path, headers={"Prefer": "wait=10"}, **body)
        assert answer.ok, answer.text()
    page.reload()
    expect(page.locator("#items li")).to_have_text(["green tea", "cola"])


def enrolled(worker: Worker, settings: Settings) -> list[tuple[str, bytes]]:
    """Name and bytes of each picture of all enrolments that were accepted."""
    store = open_store(settings.objects, settings.data_dir)
    ids = [str(key).rpartition(":")[2] for key in worker.ledger._redis.scan_iter("shitu:job:enr_*")]
    entries = [entry for job_id in sorted(ids) for entry in worker.ledger.get(job_id).request["items"]]
    return [(entry["name"], store.get(entry["image_key"])) for entry in entries]


def add(page: Page, pictures: Any) -> None:
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Pictures, one product in each").set_input_files(pictures)
    page.get_by_label("Label: what they show").fill("tea")
    page.get_by_role("button", name="Add pictures").click()

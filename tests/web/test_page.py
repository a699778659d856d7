"""The page in a real browser: a newcomer's whole way, from an empty service to a label drawn over a photo."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect, sync_playwright

from infra.galleries import GalleryStore, Item, item_id
from infra.jobs import Job, JobLedger, Lease, open_ledger
from infra.objects import open_store
from infra.settings import Settings
from tests.web.conftest import EMBEDDER, recognition_result
from tests.web.test_server import serving

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
SCREENSHOTS = os.environ.get("SCREENSHOTS")  # a folder to keep the pictures in

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
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
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(base_url)
    yield page
    context.close()
    # The browser itself reports answers of 4xx and 5xx; those are shown to the user as they should be.
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


class Worker:
    """Does a worker's part in a thread: enrolls what is asked, and answers every photo with the same two boxes."""

    def __init__(self, settings: Settings) -> None:
        self.ledger: JobLedger = open_ledger(settings)
        self._store = GalleryStore(open_store(settings.objects, settings.data_dir))
        self._stop = threading.Event()
        self.may_finish = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Worker:
        self.ledger.presence.worker_ready("worker-1", {}, ttl_s=600)
        self.ledger.presence.consumed("recognize")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_finish.set()
        self._stop.set()
        self._thread.join()

    def _answer(self, lease: Lease, job: Job) -> None:
        name = job.request["image"]["name"]
        if name == "broken.jpg":
            self.ledger.fail(
                lease, {"code": "image_truncated", "message": "The picture ends too early.", "retryable": False}
            )
            return
        while not self.may_finish.wait(0.02) and self.ledger.renew(lease):
            pass
        if self.ledger.get(job.id).cancel_requested:
            self.ledger.finish_canceled(lease)
        else:
            self.ledger.succeed(lease, self._recognize(job.request))

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for job_id in self.ledger.overdue(now=time.time() + 1e6):
                lease = self.ledger.start(job_id)
                if lease is None:
                    continue
                job = self.ledger.get(job_id)
                if job.kind == "enrollment":
                    self.ledger.succeed(lease, self._enroll(job.request))
                else:
                    self._answer(lease, job)

    def _enroll(self, request: dict[str, object]) -> dict[str, object]:
        entries = request["items"]
        assert isinstance(entries, list)
        items = [
            Item(
                item_id(entry["sha256"], entry["label"]),
                entry["label"],
                entry["image_key"],
                entry["sha256"],
                None,
                "2026",
            )
            for entry in entries
        ]
        name = str(request["gallery"])
        self._store.add(name, items, np.eye(len(items), 8, dtype=np.float32), EMBEDDER)
        told = [
            {"name": entry["name"], "status": "added", "item_id": item.id, "label": item.label, "error": None}
            for entry, item in zip(entries, items, strict=True)
        ]
        return {"items": told, "gallery": {"name": name, "version": 2, "items": len(items)}}

    def _recognize(self, request: dict[str, object]) -> dict[str, object]:
        name = str(request["gallery"])
        result = recognition_result(name)
        result["image"] = {"width": 640, "height": 480}
        stored = self._store.items(name)
        matches = [
            {"label": item.label, "similarity": 0.91 - 0.2 * n, "item_id": item.id, "image_key": item.image_key}
            for n, item in enumerate(stored)
        ]
        first = {**result["recognitions"][0], "label": matches[0]["label"], "matches": matches}
        second = {**first, "box": [430, 10, 620, 300], "label": matches[-1]["label"], "similarity": 0.688}
        result["recognitions"] = [first, second]
        return result


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    with Worker(settings) as worker:
        yield worker


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


def keep(page: Page, name: str, folder: Path) -> None:
    page.screenshot(path=Path(SCREENSHOTS or folder) / f"{name}.png", full_page=True)


def upload(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def test_a_newcomer_gets_from_nothing_to_a_recognised_photo(worker: Worker, page: Page, tmp_path: Path) -> None:
    expect(page.locator("#ready")).to_have_text("Ready")
    keep(page, "1-empty", tmp_path)

    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")

    pictures = [upload("green-tea_1.jpg", product("#2f7d4f")), upload("cola 02.jpg", product("#b3202a"))]
    page.get_by_label("Pictures, one product in each").set_input_files(pictures)  # type: ignore[arg-type]
    page.get_by_label("Take each label from the file's name").check()
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("2 added")
    expect(page.locator("#items li")).to_have_text(["green tea", "cola"])

    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))  # type: ignore[arg-type]
    expect(page.locator("#state")).to_contain_text("A worker is looking")
    keep(page, "2-processing", tmp_path)
    worker.may_finish.set()

    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#tags .tag")).to_have_text(["1 green tea 0.91", "2 cola 0.69"])
    expect(page.locator("#boxes rect.line")).to_have_count(2)
    expect(page.locator("#rows tr")).to_have_count(2)
    expect(page.locator("#rows tr").first).to_contain_text("green tea")
    expect(page.locator("#dropped")).to_contain_text("nothing in the gallery is similar enough")
    expect(page.locator("#timings")).to_contain_text("embed")
    box = page.locator("#boxes rect.line").first.bounding_box()
    shown = page.locator("#shown").bounding_box()
    assert box is not None
    assert shown is not None
    assert box["x"] - shown["x"] == pytest.approx(60 * shown["width"] / 640, abs=4)  # drawn where the body is
    assert page.locator("#rows .thumbs img").first.evaluate("image => image.naturalWidth") == 120
    keep(page, "3-answer", tmp_path)

    for width, height, scheme in ((390, 844, "light"), (1280, 900, "dark"), (390, 844, "dark")):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        keep(page, f"4-answer-{width}-{scheme}", tmp_path)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"the page is wider than {width} px"

    page.reload()  # the address names the job
    expect(page.locator("#tags .tag")).to_have_count(2)
    expect(page.locator("#caption")).to_have_text("shelf.jpg")


def test_errors_are_told_in_words_with_their_code(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))  # type: ignore[arg-type]
    expect(page.locator("#photo-error")).to_contain_text("Create a gallery")
    page.get_by_label("Name", exact=True).fill("Bad Name!")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-error")).to_contain_text("gallery_name_invalid")
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Choose a photo").set_input_files(upload("notes.jpg", b"these are notes"))  # type: ignore[arg-type]
    expect(page.locator("#photo-error")).to_contain_text("image_rejected: image_not_an_image")
    expect(page.locator("#photo-error")).to_contain_text("not a picture")
    keep(page, "5-error", tmp_path)


def test_a_failed_and_a_canceled_job_say_so(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Choose a photo").set_input_files(upload("broken.jpg", scene()))  # type: ignore[arg-type]
    expect(page.locator("#photo-error")).to_contain_text("The picture ends too early. (image_truncated)")
    expect(page.locator("#state")).to_have_text("The job failed.")
    keep(page, "6-failed", tmp_path)
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))  # type: ignore[arg-type]
    expect(page.locator("#state")).to_contain_text("A worker is looking")
    expect(page.locator("#photo-error")).to_be_empty()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_have_text("Canceled.")


def test_the_whole_way_is_open_to_the_keyboard(worker: Worker, page: Page) -> None:
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"create-name", "Create gallery", "photo", "Options", "Skip to the photo"} <= reached
    page.locator("#create-name").focus()
    page.keyboard.type("drinks")
    page.keyboard.press("Enter")
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    assert page.evaluate("document.activeElement.id") == "add-files"

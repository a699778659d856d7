"""The page in a real browser: a newcomer's whole way, from an empty service to a label drawn over a photo."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from infra.galleries import GalleryStore, Item, item_id
from infra.jobs import Job, JobLedger, Lease, open_ledger
from infra.objects import open_store
from infra.settings import Settings
from models.colour import code_points_profile
from models.image import decode, with_margin
from tests.web.conftest import EMBEDDER, recognition_result
from tests.web.test_server import serving
from worker.previews import keep_preview

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
            answer = self._recognize(job.request)
            self.ledger.succeed(lease, of_an_earlier_version(answer) if name == "old.jpg" else answer)

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
            if "error" not in entry
        ]
        name = str(request["gallery"])
        self._store.add(name, items, np.eye(len(items), 8, dtype=np.float32), EMBEDDER)
        ids = iter(item.id for item in items)
        told = []
        for entry in entries:
            error = entry.get("error")
            outcome = {"status": "rejected", "item_id": None} if error else {"status": "added", "item_id": next(ids)}
            told.append({"name": entry["name"], "label": entry["label"], "error": error, **outcome})
        return {"items": told, "gallery": {"name": name, "version": 2, "items": len(items)}}

    def _recognize(self, request: dict[str, object]) -> dict[str, Any]:
        name = str(request["gallery"])
        result = recognition_result(name)
        result["image"] = {"width": 640, "height": 480}
        stored = self._store.items(name)
        matches = [
            {"label": item.label, "similarity": 0.91 - 0.2 * n, "item_id": item.id, "image_key": item.image_key}
            for n, item in enumerate(stored)
        ]
        guesses = [{**match, "probability": 0.97 - 0.5 * n} for n, match in enumerate(matches[:2])]
        points = [[0.14, 0.25, 0.3, 0.2], [0.36, 0.3, 0.68, 0.25], [0.2, 0.8, 0.4, 0.9], [0.35, 0.55, 0.65, 0.55]]
        evidence = {"inliers": 23, "points": points, "item_id": stored[0].id, "item_box": [20, 0, 100, 160]}
        first = {
            **result["recognitions"][0],
            "label": matches[0]["label"],
            "matches": matches,
            "candidates": guesses,
            "verification": evidence,
        }
        second = {
            **first,
            "box": [430, 10, 620, 300],
            "label": matches[1]["label"],
            "similarity": 0.688,
            "probability": 0.912,
            "verification": None,
        }
        result["recognitions"] = [first, second]
        unsure = [{**guess, "probability": 0.4 - 0.25 * n} for n, guess in enumerate(guesses)]
        result["dropped"][0] = {**result["dropped"][0], "matches": matches, "candidates": unsure}
        if request["image"]["name"] == "unsure.jpg":  # type: ignore[index]
            left, top, right, bottom = result["dropped"][0]["box"]
            inside = [[(left + x * (right - left)) / 640, (top + y * (bottom - top)) / 480] for x, y in PLACES]
            seen = [[*place, *point[2:]] for place, point in zip(inside, points, strict=True)]
            result["dropped"][0]["verification"] = {**evidence, "points": seen, "item_id": stored[1].id}
            covered = {**second, "source": "detection", "reason": "suppressed", "suppressed_by": first["box"]}
            del covered["label"]
            result["dropped"].append({**covered, "verification": evidence})
        return result


PLACES = ((0.2, 0.2), (0.8, 0.3), (0.3, 0.8), (0.7, 0.6))  # of agreeing points in a box


def of_an_earlier_version(result: dict[str, Any]) -> dict[str, Any]:
    """The answer as it was kept before there were probabilities."""
    later = {"probability", "candidates", "verification"}
    del result["decision"]
    for part in ("recognitions", "dropped"):
        result[part] = [{key: value for key, value in one.items() if key not in later} for one in result[part]]
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


def upload(name: str, data: bytes) -> Any:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def test_a_newcomer_gets_from_nothing_to_a_recognised_photo(worker: Worker, page: Page, tmp_path: Path) -> None:
    expect(page.locator("#ready")).to_have_text("Ready")
    keep(page, "1-empty", tmp_path)

    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")

    pictures = [upload("green-tea_1.jpg", product("#2f7d4f")), upload("cola 02.jpg", product("#b3202a"))]
    page.get_by_label("Pictures, one product in each").set_input_files(pictures)
    page.get_by_label("Take each label from the file's name").check()
    expect(page.locator("#add-preview-list li")).to_have_text(["green tea ← green-tea_1.jpg", "cola ← cola 02.jpg"])
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("2 added")
    expect(page.locator("#items li")).to_have_text(["green tea", "cola"])

    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_contain_text("A worker is looking")
    keep(page, "2-processing", tmp_path)
    worker.may_finish.set()

    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#tags .tag")).to_have_text(["A green tea ?", "1 green tea 97 %", "2 cola 91 %"])
    expect(page.locator("#boxes rect.line")).to_have_count(2)
    expect(page.locator("#rows tr")).to_have_count(2)
    expect(page.locator("#rows tr").first).to_contain_text("green tea")
    expect(page.locator("#dropped li")).to_have_text([re.compile("another recognition covers it")])
    expect(page.locator("#decision")).to_contain_text(
        "a probability of at least 62 %, so that 90 % of them should be right"
    )
    expect(page.locator("#decision")).to_contain_text("to this gallery's own pictures (40 queries)")
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
    expect(page.locator("#tags .tag")).to_have_count(3)
    expect(page.locator("#caption")).to_have_text("shelf.jpg")


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


def test_what_is_not_sure_enough_can_be_confirmed_and_asked_again(worker: Worker, page: Page, tmp_path: Path) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Answers that should be right").fill("0.95")
    expect(page.locator("#min-precision-shown")).to_have_text("95 %")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Compare feature by feature").select_option("always")
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    asked = page.request.get(f"/v1/recognitions/{page.url.rpartition('#')[2]}").json()["request"]["options"]
    assert (asked["min_precision"], asked["verify"]) == (0.95, "always")

    unsure = page.locator("#unsure-A")
    expect(unsure.locator(".guesses li")).to_have_count(2)
    expect(unsure.locator(".guess")).to_have_text(["40 % green tea", "15 % cola"])
    for picture in unsure.locator(".guesses img").all():
        expect(picture).to_have_js_property("naturalWidth", 120)
    grey = unsure.locator(".seen canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0.2 * canvas.width, 0.8 * canvas.height, 1, 1).data]"
    )
    assert grey[:3] == pytest.approx([0x9A] * 3, abs=6)  # the part of the photo that is asked about
    keep(page, "7-unsure", tmp_path)
    unsure.get_by_role("button", name="This is it: cola").click()
    expect(unsure.locator(".status")).to_contain_text("Added as cola")
    expect(page.locator("#items li")).to_have_text(["green tea", "cola", "cola"])
    added = page.locator("#items img").nth(2)
    left, top, right, bottom = with_margin((400, 120, 560, 400), 480, 640)  # as the next photo is searched
    expect(added).to_have_js_property("naturalWidth", right - left)
    expect(added).to_have_js_property("naturalHeight", bottom - top)

    first = page.url
    page.get_by_role("button", name="Look again").click()
    expect(page).not_to_have_url(first)
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    other = page.locator("#unsure-A").get_by_label("What A is, if none of these")
    other.fill("water <b>")
    page.get_by_role("button", name="Add it as this").click()
    expect(page.locator("#unsure-A .status")).to_contain_text("Added as water <b>")  # never read as HTML
    expect(page.locator("#items li")).to_have_count(4)


def test_an_answer_of_an_earlier_version_is_drawn(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose a photo").set_input_files(upload("old.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#tags .tag")).to_have_text(["1 green tea –", "2 cola –"])
    expect(page.locator("#rows tr").first.locator("td").nth(2)).to_have_text("–")
    expect(page.locator("#dropped li")).to_have_count(2)
    expect(page.locator("#decision")).to_be_empty()
    expect(page.locator("#timings")).to_contain_text("embed")


def test_a_photo_that_is_gone_is_not_asked_again(worker: Worker, page: Page, settings: Settings) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    first = page.url
    job = worker.ledger.get(first.rpartition("#")[2])
    open_store(settings.objects, settings.data_dir).delete(job.request["image"]["key"])
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#photo-error")).to_contain_text("(object_not_found)")
    assert page.url == first  # nothing was sent
    expect(page.locator("#tags .tag")).to_have_count(3)  # and the answer stands


def test_labels_from_names_are_shown_before_they_are_made(worker: Worker, page: Page) -> None:
    page.request.post("/v1/galleries", data={"name": "parts"})
    page.reload()
    names = ["SKU-1001.jpg", "SKU-1002.jpg", "tea-1.jpg", "tea-2.jpg", "cafe\u0301 (3).jpg", "._tea-1.jpg"]
    page.get_by_label("Pictures, one product in each").set_input_files(
        [upload(name, product("#2f7d4f")) for name in names]
    )
    expect(page.locator("#add-preview")).to_be_hidden()
    page.get_by_label("Take each label from the file's name").check()
    shown = page.locator("#add-preview-list strong")
    expect(shown).to_have_text(["SKU-1001", "SKU-1002", "tea", "caf\u00e9"])
    expect(page.locator("#add-preview-summary")).to_have_text("5 pictures will be added under 4 labels:")
    page.get_by_label("Leave out a counter at the end").uncheck()
    expect(shown).to_have_text(["SKU-1001", "SKU-1002", "tea-1", "tea-2", "caf\u00e9 (3)"])


def test_one_bad_picture_is_told_and_the_others_are_added(worker: Worker, page: Page) -> None:
    page.request.post("/v1/galleries", data={"name": "parts"})
    page.reload()
    bad = {"name": "bad.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    page.get_by_label("Pictures, one product in each").set_input_files([upload("tea.jpg", product("#2f7d4f")), bad])
    page.get_by_label("Label: what they show").fill("tea")
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("1 added, 1 not usable:")
    expect(page.locator("#add-status li")).to_contain_text("bad.jpg: This is not a picture")


def test_every_part_that_is_asked_about_has_a_name_of_its_own(page: Page) -> None:
    names = page.evaluate(
        """import("/static/candidates.js").then(({ letter }) => [...Array(100).keys()].map((number) => letter(number)))"""
    )
    assert names[:28] == [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB"]
    assert len(set(names)) == 100


def test_the_features_that_agree_are_drawn(worker: Worker, page: Page, tmp_path: Path) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator(".agreeing")).to_have_count(1)
    page.get_by_text("23 features agree with the picture").click()
    drawn = page.locator(".evidence canvas")
    expect(drawn).to_have_attribute("aria-label", re.compile("23 features agree .* green tea"))
    # One point is where a line begins: at the share of the photo that the answer says, within the box.
    at = drawn.evaluate(
        """canvas => {
          const density = canvas.height / 260, width = 260 * 200 / 330;
          const x = (0.2 * 640 - 60) / 200 * width, y = (0.8 * 480 - 90) / 330 * 260;
          return [...canvas.getContext('2d').getImageData(x * density, y * density, 1, 1).data];
        }"""
    )
    assert at[:3] != pytest.approx([0x2F, 0x7D, 0x4F], abs=40)  # no longer the product's green
    keep(page, "8-evidence", tmp_path)


def test_the_features_that_agree_are_drawn_of_what_is_dropped_too(worker: Worker, page: Page, tmp_path: Path) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose a photo").set_input_files(upload("unsure.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    unsure = page.locator("#unsure-A")
    unsure.get_by_text("23 features agree with the picture of cola").click()
    expect(unsure.locator(".evidence canvas")).to_have_attribute("aria-label", re.compile("23 features agree .* cola"))
    page.locator("#dropped-panel > summary").click()
    covered = page.locator("#dropped li")
    covered.get_by_text("23 features agree").click()
    expect(covered.locator(".evidence canvas")).to_be_visible()
    keep(page, "9-evidence-of-dropped", tmp_path)


def test_what_a_browser_cannot_show_is_told_when_it_is_confirmed(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    data = io.BytesIO()
    Image.open(io.BytesIO(scene())).save(data, "TIFF")
    page.get_by_label("Choose a photo").set_input_files(
        {"name": "shelf.tiff", "mimeType": "image/tiff", "buffer": data.getvalue()}
    )
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    frame = page.locator("#shown").bounding_box()  # of the photo's shape, so that the boxes are where they belong
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(640 / 480, rel=0.02)
    page.locator("#unsure-A").get_by_role("button", name="This is it: cola").click()
    expect(page.locator("#unsure-A .status")).to_contain_text("cannot show the photo")
    expect(page.locator("#items li")).to_have_count(2)


def test_a_gallery_picture_that_a_browser_cannot_show_is_told(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    data = io.BytesIO()
    Image.open(io.BytesIO(product("#884422"))).save(data, "TIFF")
    form = {"images": {"name": "a.tiff", "mimeType": "image/tiff", "buffer": data.getvalue()}, "labels": "coffee"}
    answer = page.request.post("/v1/galleries/drinks/items", multipart=form, headers={"Prefer": "wait=20"})
    assert answer.ok, answer.text()
    page.reload()
    expect(page.locator("#items li")).to_have_count(3)
    expect(page.locator("#items .blank")).to_have_text(["no preview"])
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
    page.get_by_label("Choose a photo").set_input_files(
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
        return [canvas.width, canvas.height, Array.from(paper.getImageData(0, 0, canvas.width, canvas.height).data)]; }"""
    )
    shown = np.array(seen[2], np.uint8).reshape(seen[1], seen[0], 4)[..., :3]
    assert shown.shape == image.shape
    assert np.abs(shown.astype(int) - image).mean() < 3
    page.locator("#unsure-A").get_by_role("button", name="This is it: cola").click()  # it can be cut out, too
    expect(page.locator("#items li")).to_have_count(3)


def test_errors_are_told_in_words_with_their_code(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#photo-error")).to_contain_text("Create a gallery")
    page.get_by_label("Name", exact=True).fill("Bad Name!")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-error")).to_contain_text("gallery_name_invalid")
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Choose a photo").set_input_files(upload("notes.jpg", b"these are notes"))
    expect(page.locator("#photo-error")).to_contain_text("image_rejected: image_not_an_image")
    expect(page.locator("#photo-error")).to_contain_text("not a picture")
    keep(page, "5-error", tmp_path)


def test_a_failed_and_a_canceled_job_say_so(worker: Worker, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Name", exact=True).fill("drinks")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#gallery-facts")).to_contain_text("Still empty")
    page.get_by_label("Choose a photo").set_input_files(upload("broken.jpg", scene()))
    expect(page.locator("#photo-error")).to_contain_text("The picture ends too early. (image_truncated)")
    expect(page.locator("#state")).to_have_text("The job failed.")
    keep(page, "6-failed", tmp_path)
    page.get_by_label("Choose a photo").set_input_files(upload("shelf.jpg", scene()))
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


def test_large_photos_are_shrunk_upright_and_small_ones_sent_as_they_are(
    worker: Worker, page: Page, settings: Settings
) -> None:
    large, small = phone_photo(1), scene()
    assert len(large) > 700_000
    add(page, [upload("phone.jpg", large), upload("small.jpg", small)])
    expect(page.locator("#add-status")).to_contain_text("2 added")
    found = dict(enrolled(worker, settings))
    assert found["small.jpg"] == small
    sent = Image.open(io.BytesIO(found["phone.jpg"]))
    assert sent.size == (1418, 2048)
    assert len(found["phone.jpg"]) < len(large)
    assert sent.getexif().get(0x0112, 1) == 1
    upper, lower = sent.getpixel((700, 300)), sent.getpixel((700, 1700))
    assert isinstance(upper, tuple)
    assert isinstance(lower, tuple)
    assert upper[0] > 150 > upper[2]
    assert lower[2] > 150 > lower[0]


def test_an_interrupted_addition_goes_on_and_sends_nothing_twice(
    worker: Worker, page: Page, settings: Settings
) -> None:
    """Small requests: the line breaks off over the first, a server refuses the second, and the rest goes on by hand."""
    pictures = [upload(f"{number:02}.jpg", scene() + bytes([number])) for number in range(20)]
    requests = []
    problem = {"title": "Out of order", "detail": "Not now.", "code": "internal_error"}

    def meddle(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        requests.append(route.request)
        if len(requests) == 1:
            route.abort("connectionreset")
        elif len(requests) == 2:
            route.fulfill(status=408, json=problem)
        elif len(requests) == 4:
            route.fulfill(status=500, json=problem)
        else:
            route.continue_()

    page.route("**/items", meddle)
    add(page, pictures)
    expect(page.locator("#add-status")).to_contain_text("8 of 20 are added")
    expect(page.locator("#add-sent")).to_be_hidden()
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("12 added")
    assert len(requests) == 6  # 8, 8 and 4 pictures, the first twice more, the second once more
    names = sorted(name for name, _ in enrolled(worker, settings))
    assert names == [f"{number:02}.jpg" for number in range(20)]


def test_labels_that_are_shown_are_made_though_the_line_breaks_off_and_some_are_bad(
    worker: Worker, page: Page, settings: Settings, tmp_path: Path
) -> None:
    """Labels from names, shrinking, resuming and bad pictures at once; all of the second request are bad."""
    page.request.post("/v1/galleries", data={"name": "other"})
    page.request.post("/v1/galleries", data={"name": "parts"})
    page.reload()
    page.get_by_label("Recognise against").select_option("parts")
    good = [upload(f"cafe\u0301-{number}.jpg", scene() + bytes([number])) for number in range(8)]
    bad = [{"name": f"bad-{number}.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"} for number in range(8)]
    last = [upload("SKU-1001\u202e.jpg", phone_photo(3)), upload("._tea.jpg", scene())]
    page.get_by_label("Pictures, one product in each").set_input_files([*good, *bad, *last])
    page.get_by_label("Take each label from the file's name").check()
    shown = page.locator("#add-preview-list strong")
    expect(shown).to_have_text(["caf\u00e9", "bad", "SKU-1001"])
    expect(page.locator("#add-preview-list li").last).to_have_text("SKU-1001 ← SKU-1001.jpg")
    keep(page, "10-labels", tmp_path)
    page.set_viewport_size({"width": 360, "height": 740})  # a phone's
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep(page, "10-labels-phone", tmp_path)
    requests = []

    def meddle(route: Route) -> None:
        requests.append(route.request)
        if len(requests) == 1:
            page.get_by_label("Recognise against").select_option("other")  # to look at it meanwhile
        if len(requests) == 3:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/parts/items", meddle)
    page.get_by_role("button", name="Add pictures").click()
    expect(page.locator("#add-status")).to_contain_text("9 added, 8 not usable:", timeout=60_000)
    expect(page.locator("#add-status li").first).to_contain_text("bad-0.jpg: This is not a picture")
    keep(page, "11-added", tmp_path)
    found = [item.label for item in GalleryStore(open_store(settings.objects, settings.data_dir)).items("parts")]
    assert sorted(found) == sorted(["caf\u00e9"] * 8 + ["SKU-1001"])
    expect(page.locator("#add-preview")).to_be_hidden()

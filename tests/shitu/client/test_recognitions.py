"""Photos recognised through both clients, on a front end that listens and the tests' Redis."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.options import RECOGNIZE_OPTIONS
from infra.jobs.ledger import JobLedger
from shitu import AsyncClient, Client
from shitu.client.errors import Conflict, JobFailed, NotFound, RequestRefused, WaitTimeout
from shitu.client.options import RecognitionOptions
from shitu.client.pictures import upload_of
from tests.shitu.cli.test_server import Hand
from tests.shitu.client.conftest import Call, Served
from tests.web.conftest import recognition_result
from tests.web.pictures import picture
from web.services import EXTENSION

PHOTO = picture(seed=1)


@pytest.fixture
def ledger(served: Served) -> JobLedger:
    found: JobLedger = served.app.extensions[EXTENSION].ledger
    return found


@pytest.fixture
def gallery(call: Call) -> str:
    found: str = call("galleries.create", "drinks")["name"]
    return found


def test_a_photo_is_recognised_in_one_call_whatever_it_is_given_as(
    call: Call, gallery: str, hand: Hand, tmp_path: Path
) -> None:
    path = tmp_path / "полка 架.jpg"
    path.write_bytes(PHOTO)
    array = np.asarray(Image.open(path).convert("RGB"))
    for photo, name in (
        (path, "полка 架.jpg"), (str(path), "полка 架.jpg"), (PHOTO, "image"), (io.BytesIO(PHOTO), "image"),
        (Image.open(path), "image.png"), (array, "image.png"),
    ):  # fmt: skip
        result = call("recognize", photo, gallery, {"min_precision": 0.8}, timeout_s=20, metadata={"till": "3"})
        assert result["recognitions"][0]["label"] == "tea"
        assert hand.requests[-1]["image"]["name"] == name
        assert hand.requests[-1]["options"] == {"min_precision": 0.8}
    assert len({one["image"]["key"] for one in hand.requests[:4]}) == 1  # the bytes as they are
    with path.open("rb") as file:
        assert upload_of(file).name == "полка 架.jpg"
    with pytest.raises(TypeError, match="binary mode"), path.open(encoding="latin-1") as text:
        upload_of(text)  # type: ignore[arg-type]


def test_an_array_and_a_turned_pillow_picture_arrive_upright_and_exact() -> None:
    array = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(upload_of(array[:, ::-1]).data))) == array[:, ::-1]).all()
    turned = Image.fromarray(array)
    turned.getexif()[0x0112] = 6
    saved = io.BytesIO()
    turned.save(saved, "PNG", exif=turned.getexif())
    sent = Image.open(io.BytesIO(upload_of(Image.open(saved)).data))
    assert (np.asarray(sent) == np.rot90(array, -1)).all()
    for wrong in (array.astype(np.float32), array[..., 0], array[:0]):
        with pytest.raises(ValueError, match="RGB uint8"):
            upload_of(wrong)
    with pytest.raises(TypeError, match="a picture is a path"):
        upload_of(3)  # type: ignore[arg-type]


def test_a_wait_says_each_state_and_ends_by_the_stream(call: Call, gallery: str, ledger: JobLedger) -> None:
    job = call("recognitions.create", PHOTO, gallery)
    seen: list[str] = []
    taken = threading.Event()

    def progress(state: Any) -> None:
        seen.append(state["status"])
        if state["status"] == "processing":
            taken.set()

    def work() -> None:
        lease = ledger.start(job["id"])
        assert lease is not None
        taken.wait(10)
        ledger.succeed(lease, recognition_result())

    worker = threading.Thread(target=work)
    worker.start()
    ended = call("recognitions.wait", job, timeout_s=20, progress=progress)
    worker.join(10)
    assert ended["status"] == "succeeded"
    assert seen[-2:] == ["processing", "succeeded"]
    assert call("recognitions.wait", job["id"], timeout_s=5)["result"] == ended["result"]


def test_a_deadline_ends_the_wait_and_not_the_job(call: Call, gallery: str) -> None:
    job = call("recognitions.create", PHOTO, gallery)
    for timeout_s in (0.0, 0.7):
        began = time.monotonic()
        with pytest.raises(WaitTimeout, match="is still queued after") as report:
            call("recognitions.wait", job, timeout_s=timeout_s)
        assert timeout_s <= time.monotonic() - began < timeout_s + 1
        assert report.value.job["id"] == job["id"]
    assert call("recognitions.get", job)["status"] == "queued"
    assert call("recognitions.cancel", job)["status"] == "canceled"
    assert call("recognitions.cancel", job)["status"] == "canceled"


def test_a_failed_job_is_an_error_with_its_code_and_can_be_replayed(call: Call, gallery: str, hand: Hand) -> None:
    with pytest.raises(JobFailed, match="cut short") as report:
        call("recognize", PHOTO, gallery, name="bad.jpg", timeout_s=20)
    assert (report.value.code, report.value.retryable) == ("image_truncated", False)
    again = call("recognitions.replay", report.value.job)
    assert again["id"] == report.value.job["id"]
    assert call("recognitions.wait", again, timeout_s=20)["status"] == "failed"


def test_jobs_are_listed_page_by_page(call: Call, gallery: str, hand: Hand) -> None:
    ids = [call("recognitions.create", PHOTO, gallery, metadata={"till": str(n % 2)})["id"] for n in range(5)]
    for job in ids:
        call("recognitions.wait", job, timeout_s=20)
    assert [one["id"] for one in call("recognitions.list", page_size=2)] == ids[::-1]
    assert [one["id"] for one in call("recognitions.list", metadata={"till": "1"}, status="succeeded")] == [
        ids[3],
        ids[1],
    ]


def test_a_key_makes_a_repetition_the_same_job(call: Call, gallery: str) -> None:
    first, second = (call("recognitions.create", PHOTO, gallery, idempotency_key='till "3"') for _ in range(2))
    assert first["id"] == second["id"]
    assert call("recognitions.create", PHOTO, gallery)["id"] != first["id"]


def test_a_url_is_left_to_the_service_and_refusals_say_what_is_wrong(call: Call, gallery: str) -> None:
    job = call("recognitions.create", "https://shop.example/a.jpg", gallery, priority="low", cancel_after_s=60)
    assert (job["request"]["image"]["key"], job["priority"]) == (None, "low")
    assert job["cancel_at"] is not None
    with pytest.raises(RequestRefused) as refused:
        call("recognitions.create", PHOTO, gallery, {"top_k": 1000, "min_precision": 7})
    report = refused.value
    assert (report.code, report.status, len(report.errors)) == ("invalid_options", 422, 2)
    assert report.request_id
    with pytest.raises(NotFound, match="gallery_not_found"):
        call("recognitions.create", PHOTO, "none")
    with pytest.raises(NotFound):
        call("recognitions.wait", "rec_00000000000000000000000000", timeout_s=5)
    with pytest.raises(Conflict):
        call("galleries.create", gallery)


def test_feedback_is_kept_and_listed(call: Call, gallery: str, hand: Hand) -> None:
    job = call("recognitions.wait", call("recognitions.create", PHOTO, gallery), timeout_s=20)
    given = call("recognitions.give_feedback", job, "wrong", label="cola")
    assert call("recognitions.feedback", job) == [given]
    assert call("galleries.feedback", gallery, verdict="wrong") == [given]
    assert b"\tcola" in call("galleries.feedback_list", gallery, "train")
    assert call("recognitions.photo", job) == PHOTO


def test_an_old_answer_is_compared_and_a_job_erased(call: Call, gallery: str, hand: Hand) -> None:
    job = call("recognitions.wait", call("recognitions.create", PHOTO, gallery), timeout_s=20)
    again = call("recognitions.compare", job, version=1)
    assert again["request"]["compared"]["job"] == job["id"]
    with pytest.raises(NotFound, match="delivery_not_found"):
        call("recognitions.replay_webhook", job)
    assert call("recognitions.preview", job, width=64)[:2] == b"\xff\xd8"
    call("recognitions.wait", again, timeout_s=20)
    assert call("recognitions.erase", job)["job_id"] == job["id"]
    with pytest.raises(NotFound, match="job_"):
        call("recognitions.get", job)


def test_a_pillow_picture_of_printing_colours_keeps_them_and_their_profile() -> None:
    """In a PNG they would be RGB under a profile of CMYK."""
    profile = b"a profile of CMYK"
    image = Image.new("CMYK", (20, 16), (10, 20, 30, 40))
    image.info["icc_profile"] = profile
    sent = upload_of(image)
    with Image.open(io.BytesIO(sent.data)) as arrived:
        assert (arrived.format, arrived.mode, arrived.getpixel((3, 3))) == ("TIFF", "CMYK", (10, 20, 30, 40))
        assert arrived.info["icc_profile"] == profile
    assert sent.name == "image.tif"
    image = Image.new("HSV", (20, 16), (10, 200, 200))
    image.info["icc_profile"] = profile
    with Image.open(io.BytesIO(upload_of(image).data)) as arrived:
        assert (arrived.mode, arrived.info.get("icc_profile")) == ("RGB", None)
    with pytest.raises(ValueError, match="mode F"):
        upload_of(Image.new("F", (20, 16), 0.5))


def test_the_options_are_those_of_the_service() -> None:
    assert set(RecognitionOptions.__annotations__) == set(RECOGNIZE_OPTIONS)


def test_both_clients_have_the_same_calls() -> None:
    def calls(client: object) -> set[str]:
        groups = {name: value for name, value in vars(client).items() if not name.startswith("_")}
        return {f"{name}.{call}" for name, group in groups.items() for call in dir(group) if not call.startswith("_")}

    with Client("127.0.0.1:1") as client:
        assert calls(client) == calls(AsyncClient("127.0.0.1:1"))
        assert len(calls(client)) > 60

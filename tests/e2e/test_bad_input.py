"""Whatever is sent, the running service answers clearly and goes on working; odd but sound pictures are recognised."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from infra.jobs.ledger import open_ledger
from infra.stack.launcher import Stack
from tests.e2e.service import Service, encode, labels, pattern

GALLERY = "bad-input"
OPTIONS = '{"whole_image": "always", "detection_threshold": 1}'


@pytest.fixture(scope="module")
def gallery(service: Service) -> str:
    """A gallery with one picture."""
    service.create_gallery(GALLERY)
    service.enroll(GALLERY, {"pattern 9": encode(pattern(9, 320), quality=95), "pattern 8": encode(pattern(8, 320))})
    return GALLERY


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 grey pixels in some 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    line = bytes(1 + 20_000 // 8)
    rows = b"".join(packer.compress(line) for _ in range(20_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "image_empty"),
    "text": (lambda: b"not a picture at all " * 50, "image_not_an_image"),
    "a PDF": (lambda: b"%PDF-1.7\n" + bytes(200), "image_format_unsupported"),
    "one pixel": (lambda: encode(np.zeros((1, 1, 3), np.uint8), "PNG"), "image_too_small"),
    "a bomb": (bomb, "image_too_large"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_never_be_recognised_is_refused_at_once(service: Service, gallery: str, name: str) -> None:
    make, reason = REFUSED[name]
    data = make()
    assert len(data) < 100_000
    answer = service.ask(data, gallery)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "image_rejected"
    assert problem["reason"] == reason
    assert still_works(service)


def truncated_jpeg() -> bytes:
    whole = encode(np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8), quality=90)
    return whole[: len(whole) // 2]


def truncated_png() -> bytes:
    whole = encode(np.random.default_rng(1).integers(0, 256, (320, 320, 3), dtype=np.uint8), "PNG")
    return whole[: len(whole) // 2]


def broken_png() -> bytes:
    """Its header is sound, its data is not."""
    whole = bytearray(encode(pattern(9, 320), "PNG"))
    start = whole.index(b"IDAT") + 20
    whole[start : start + 60] = bytes(60)
    return bytes(whole)


@pytest.mark.parametrize("make", [truncated_jpeg, truncated_png, broken_png])
def test_what_only_decoding_can_say_fails_the_job_with_a_code_and_one_attempt(
    service: Service, gallery: str, make: Callable[[], bytes]
) -> None:
    job = service.finished(service.accepted(service.ask(make(), gallery)))
    assert job["status"] == "failed"
    assert job["result"] is None
    assert job["error"]["code"].startswith("image_")
    assert job["error"]["retryable"] is False
    assert "/" not in job["error"]["message"]
    assert job["attempts"] == 1
    assert still_works(service)


def animated() -> bytes:
    frames = [Image.fromarray(pattern(seed, 320)) for seed in (9, 8, 7)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pattern(9, 320)).convert("CMYK").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def sixteen_bit() -> bytes:
    grey = pattern(9, 320).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    buffer = io.BytesIO()
    Image.fromarray((grey * 257).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def grey() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pattern(9, 320)).convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def transparent() -> bytes:
    image = Image.fromarray(pattern(9, 320)).convert("RGBA")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def palette() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pattern(9, 320)).convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(buffer, "PNG")
    return buffer.getvalue()


COLOURED: list[Callable[[], bytes]] = [animated, cmyk, transparent, palette]


@pytest.mark.parametrize("make", COLOURED)
def test_sound_pictures_of_every_kind_are_recognised(service: Service, gallery: str, make: Callable[[], bytes]) -> None:
    result = service.recognized(make(), gallery, options=OPTIONS)
    assert result["image"] == {"width": 320, "height": 320}
    assert whole_image(result)["label"] == "pattern 9"


@pytest.fixture(scope="module")
def grey_gallery(service: Service) -> str:
    """Pictures without colour: one in grey, one in 16 bits, another one, and one in colours."""
    service.create_gallery("grey")
    other = Image.fromarray(pattern(8, 320)).convert("L")
    buffer = io.BytesIO()
    other.save(buffer, "PNG")
    pictures = {"pattern 9": grey(), "pattern 8": buffer.getvalue(), "in colours": encode(pattern(7, 320), "PNG")}
    result = service.enroll("grey", pictures)
    assert [item["status"] for item in result["items"]] == ["added"] * len(pictures)
    return "grey"


@pytest.mark.parametrize("make", [grey, sixteen_bit])
def test_pictures_without_colour_are_found_among_such(
    service: Service, grey_gallery: str, make: Callable[[], bytes]
) -> None:
    """The same grey in 8 and in 16 bits is the same picture: nearly the same vector, and nearer than any other's.

    So the 16 bits must be scaled, not clipped, and the one channel shown as three equal ones.
    """
    options = '{"whole_image": "always", "detection_threshold": 1, "similarity_threshold": -1, "top_k": 3}'
    result = service.recognized(make(), grey_gallery, options=options)
    assert result["image"] == {"width": 320, "height": 320}
    matches = whole_image(result)["matches"]
    assert matches[0]["label"] == "pattern 9"
    assert matches[0]["similarity"] > 0.99
    assert len(matches) == 3
    assert matches[0]["similarity"] > matches[1]["similarity"]


def test_a_rotated_photo_is_turned_upright(service: Service) -> None:
    upright = pattern(9, 320)[:, :240]
    service.create_gallery("upright")
    service.enroll("upright", {"upright": encode(upright, "PNG"), "lying": encode(np.rot90(upright), "PNG")})
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(buffer, "JPEG", quality=95, exif=exif)
    result = service.recognized(buffer.getvalue(), "upright", options=OPTIONS)
    assert result["image"] == {"width": 240, "height": 320}
    assert whole_image(result)["box"] == [0, 0, 240, 320]
    assert labels(result) == ["upright"]


def test_a_rejected_picture_holds_no_other_up_in_an_enrolment(service: Service) -> None:
    service.create_gallery("mixed")
    result = service.enroll(
        "mixed", {"good": encode(pattern(20)), "bad": truncated_jpeg(), "fine": encode(pattern(21))}
    )
    assert [item["status"] for item in result["items"]] == ["added", "rejected", "added"]
    assert result["items"][1]["error"]["code"].startswith("image_")
    assert service.get("/v1/galleries/mixed")["item_count"] == 2


def test_a_gallery_deleted_before_the_worker_looks_fails_the_job_clearly(service: Service) -> None:
    service.create_gallery("gone")
    slow = encode(pattern(3, 4000))
    service.create_gallery("busy")
    for _ in range(3):  # keeps the worker busy until the gallery is deleted
        service.accepted(service.ask(slow, "busy"))
    job = service.accepted(service.ask(slow, "gone"))
    assert service.http.delete(f"{service.base_url}/v1/galleries/gone", timeout=10).status_code == 204
    done = service.finished(job)
    assert done["status"] == "failed"
    assert done["error"]["code"] == "gallery_not_found"
    assert done["attempts"] == 1


def problem_of(service: Service, **request: Any) -> tuple[int, str]:
    """Status and code of a refused POST to /v1/recognitions."""
    answer = requests.post(f"{service.base_url}/v1/recognitions", timeout=30, **request)
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_wrong_requests_are_named(service: Service, gallery: str) -> None:
    photo = encode(pattern(9))
    image = {"image": ("photo.jpg", photo)}
    assert problem_of(service, data={"galery": gallery}, files=image) == (400, "invalid_request")
    assert problem_of(service, data={"gallery": gallery}, files={"photo": ("photo.jpg", photo)}) == (
        400,
        "invalid_request",
    )
    assert problem_of(service, data={"gallery": "nobody"}, files=image) == (404, "gallery_not_found")
    two = [("image", ("a.jpg", photo)), ("image", ("b.jpg", photo))]
    assert problem_of(service, data={"gallery": gallery}, files=two) == (413, "too_many_files")
    large = {"image": ("photo.jpg", photo + bytes(9 * 1024 * 1024))}
    assert problem_of(service, data={"gallery": gallery}, files=large) == (413, "body_too_large")
    options = {"gallery": gallery, "options": '{"top_k": 0}'}
    assert problem_of(service, data=options, files=image) == (422, "invalid_options")
    assert problem_of(service, data=b"{", headers={"Content-Type": "application/json"}) == (400, "invalid_request")
    assert still_works(service)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.jpg", "http://169.254.169.254/latest/", "http://[::1]/a.jpg"])
def test_private_addresses_are_not_fetched(service: Service, gallery: str, url: str) -> None:
    assert problem_of(service, json={"gallery": gallery, "image": {"url": url}}) == (422, "address_forbidden")


def test_unknown_and_expired_jobs_are_reported_apart(service: Service, gallery: str, stack: Stack) -> None:
    unknown = service.http.get(f"{service.base_url}/v1/recognitions/rec_0000000000000000000000000a", timeout=10)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")
    job = service.finished(service.accepted(service.ask(encode(pattern(9)), gallery)))
    ledger = open_ledger(stack.settings)
    ledger.sweeper.retire(now=ledger.time() + stack.settings.jobs.retention_s + 1)
    expired = service.http.get(service.base_url + job["links"]["self"], timeout=10)
    assert (expired.status_code, expired.json()["code"]) == (410, "job_expired")


def still_works(service: Service) -> bool:
    """Whether a sound photo is still recognised."""
    return "pattern 9" in labels(service.recognized(encode(pattern(9, 320), quality=95), GALLERY, options=OPTIONS))


def whole_image(result: dict[str, Any]) -> dict[str, Any]:
    """The recognition of the whole picture."""
    found: dict[str, Any] = next(entry for entry in result["recognitions"] if entry["source"] == "whole_image")
    return found

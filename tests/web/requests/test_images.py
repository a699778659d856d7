"""The header check: what is refused before a job exists, and what is let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from contracts.names import clean_name
from contracts.pictures import Seen
from infra.errors.requests import RejectedImage
from infra.runtime.settings import ImageSettings
from tests.web.pictures import picture, png_header
from web.requests.images import Refusal, Upload, check_images, media_type, read_header

LIMITS = ImageSettings(max_pixels=1_000_000, min_side_px=16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_takes_every_format_with_its_size_and_media_type(kind: str) -> None:
    assert read_header(picture(kind), LIMITS) == Seen(kind, 96, 64)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_takes_every_mode_of_jpeg(mode: str) -> None:
    assert isinstance(read_header(picture(mode=mode), LIMITS), Seen)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"hello, this is no picture at all", "image_not_an_image"),
        (picture()[:100], "image_unreadable"),
        (picture("PNG")[:20], "image_unreadable"),
        (b"\0\0\1\0" + bytes(60), "image_format_unsupported"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "image_format_unsupported"),
        (b"%PDF-1.7 ...", "image_format_unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_format_unsupported"),
        (b"<!doctype html><title>Not found</title>", "image_format_unsupported"),
        (picture(width=1, height=1), "image_too_small"),
        (picture(width=400, height=15), "image_too_small"),
        (png_header(1001, 1000), "image_too_large"),
        (png_header(10_000, 10_000), "image_too_large"),  # above where Pillow warns
        (png_header(20_000, 20_000), "image_too_large"),  # 400 megapixels, above where Pillow raises
        (png_header(2_000_000_000, 2_000_000_000), "image_too_large"),
    ],
)
def test_refuses_with_the_reason(data: bytes, code: str) -> None:
    refusal = read_header(data, LIMITS)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


def test_the_limits_are_inclusive() -> None:
    assert isinstance(read_header(png_header(1000, 1000), LIMITS), Seen)
    assert isinstance(read_header(png_header(16, 16), LIMITS), Seen)


def test_a_truncated_file_passes_because_only_decoding_can_say() -> None:
    assert isinstance(read_header(picture(width=300, height=300)[:-2000], LIMITS), Seen)


@given(st.binary(max_size=60), st.integers(0, 200), st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]))
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_damage_to_a_header_is_a_crash(noise: bytes, position: int, kind: str) -> None:
    whole = picture(kind)
    damaged = whole[:position] + noise + whole[position + len(noise) :]
    assert isinstance(read_header(damaged, LIMITS), Seen | Refusal)
    assert "/" in media_type(damaged)


def test_all_bad_pictures_of_a_request_are_named() -> None:
    uploads = [Upload(b"", "empty.jpg"), Upload(b"nonsense", "text.txt")]
    with pytest.raises(RejectedImage) as caught:
        check_images(uploads, LIMITS, ["/images/1", "/images/2"])
    assert caught.value.extra["reason"] == "image_empty"
    assert [(e["pointer"], e["name"], e["code"]) for e in caught.value.extra["errors"]] == [
        ("/images/1", "empty.jpg", "image_empty"),
        ("/images/2", "text.txt", "image_not_an_image"),
    ]
    good, bad = check_images([Upload(picture(), "good.jpg"), uploads[1]], LIMITS, ["/images/0", "/images/1"])
    assert isinstance(good, Seen)
    assert isinstance(bad, Refusal)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (None, ""),
        ("a/b\\c.jpg", "c.jpg"),
        ("../../etc/passwd", "passwd"),
        ("x\r\nSet-Cookie: a\0.png", "xSet-Cookie: a.png"),
        ("茶" * 300, "茶" * 200),
    ],
)
def test_names_are_made_harmless(sent: str | None, shown: str) -> None:
    assert clean_name(sent) == shown

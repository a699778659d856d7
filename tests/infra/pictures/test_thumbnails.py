"""Stored pictures made smaller: upright, never enlarged, and within bounds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.pictures import LARGE_PIXELS
from infra.errors.photos import ObjectNotFound, PictureNotRenderable
from infra.objects.local import LocalStore
from infra.objects.store import preview_key
from infra.pictures.thumbnails import decoded, thumbnail
from models.pictures.preview import needs_preview, preview_of
from tests.web.pictures import picture, png_header


def halves(width: int = 400, height: int = 200) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = (220, 20, 20), (20, 20, 220)
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_every_format_of_browsers_is_made_smaller(kind: str) -> None:
    small = decoded(saved(halves(), kind), 100)
    assert (small.size, small.mode) == ((100, 50), "RGB")
    left, right = small.getpixel((20, 25)), small.getpixel((80, 25))
    assert np.abs(np.subtract([left, right], [(220, 20, 20), (20, 20, 220)])).max() < 12


def test_nothing_is_enlarged_and_what_is_turned_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: what is left in the file is on top
    data = saved(halves(), "JPEG", exif=exif)
    assert decoded(data, 4096).size == (200, 400)
    small = decoded(data, 50)
    assert small.size == (50, 100)
    top = small.getpixel((25, 20))
    assert isinstance(top, tuple)
    assert top[0] > 180


def test_clear_parts_are_white_and_deep_greys_keep_their_light() -> None:
    clear = saved(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), "PNG")
    assert decoded(clear, 32).getpixel((9, 9)) == (255, 255, 255)
    deep = saved(Image.fromarray(np.full((64, 64), 32896, np.uint16)), "PNG")
    grey = decoded(deep, 32).getpixel((9, 9))
    assert isinstance(grey, tuple)
    assert abs(grey[0] - 128) <= 1


@pytest.mark.parametrize(
    ("data", "retryable"),
    [
        (b"nothing", False),
        (picture(width=300, height=300)[:-9000], False),
        (picture("PNG")[:2000], False),
        (picture("TIFF"), True),
        (picture("BMP"), True),
        (png_header(5001, 5000), True),
        (png_header(100_000, 100_000), True),
    ],
)
def test_what_can_not_be_made_smaller_is_reported(data: bytes, retryable: bool) -> None:
    with pytest.raises(PictureNotRenderable) as caught:
        decoded(data, 64)
    assert caught.value.retryable is retryable


def test_what_is_reported_to_wait_for_a_worker_is_what_a_worker_renders() -> None:
    assert LARGE_PIXELS < 5001 * 5000
    for data in (picture("TIFF"), picture("BMP"), png_header(5001, 5000)):
        assert needs_preview(data)
    for data in (picture(), picture("PNG"), picture("WEBP"), png_header(5000, 5000)):
        assert not needs_preview(data)


def test_the_worker_s_rendering_is_preferred(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    key = objects.put_image(picture("TIFF"))
    with pytest.raises(PictureNotRenderable):
        thumbnail(objects, key, 64)
    objects.put(preview_key(key), preview_of(np.asarray(halves())))
    with Image.open(io.BytesIO(thumbnail(objects, key, 64))) as small:
        assert (small.format, small.size) == ("JPEG", (64, 32))
    with pytest.raises(ObjectNotFound):
        thumbnail(objects, "images/00/00", 64)

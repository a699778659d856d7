"""Files with several pictures: which one is taken, or that they are refused by name. And metadata that spoil no JPEG."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from models.errors import ImageError
from models.pictures.image import decode
from tests.cases.test_pictures import apart, encoded, photo, profile

OTHER = 255 - photo()


def several(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    more = {"append_images": [Image.fromarray(OTHER)], "save_all": True}
    Image.fromarray(photo()).save(file, kind, **more, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [
        ("GIF", {}, 60),
        ("WEBP", {"lossless": True}, 0),
        ("PNG", {}, 0),
        ("AVIF", {"quality": 95}, 12),
        ("MPO", {"quality": 95}, 12),
        ("TIFF", {}, 0),
    ],
)
def test_the_first_of_an_animation_or_of_pages_is_taken(kind: str, options: dict[str, object], within: int) -> None:
    found = decode(several(kind, **options))
    assert apart(found, photo()) <= within
    assert apart(found, OTHER) > 2 * within + 20


def test_an_animated_png_with_a_default_picture_shows_that() -> None:
    file = io.BytesIO()
    frames = [Image.fromarray(OTHER), Image.fromarray(OTHER)]
    Image.fromarray(photo()).save(file, "PNG", save_all=True, default_image=True, append_images=frames)
    np.testing.assert_array_equal(decode(file.getvalue()), photo())


def test_of_a_heic_burst_the_primary_one_is_taken() -> None:
    file = pillow_heif.from_pillow(Image.fromarray(OTHER))
    file.add_from_pillow(Image.fromarray(photo()))
    burst = io.BytesIO()
    file.save(burst, quality=-1, chroma=444, primary_index=1)
    assert apart(decode(burst.getvalue()), photo()) <= 6


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encoded(np.zeros((64, 64, 3), np.uint8), "ICO"), "ICO"),
        (b"\0\0\2\0\1\0" + bytes(60), "cursor"),
        (encoded(np.zeros((64, 64, 3), np.uint8), "TGA"), "TGA"),
        (encoded(np.zeros((64, 64, 3), np.uint8), "ICNS"), "ICNS"),
        (encoded(np.zeros((64, 64, 3), np.uint8), "PCX"), "PCX"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI" + bytes(40), "CgBI"),
        (b"\0\0\0\x18ftyphevc\0\0\0\0hevcmsf1" + bytes(60), "sequence"),
        (b"\xef\xbb\xbf  <svg xmlns='x'/>", "SVG"),
        (b"RIFF\0\1\0\0AVI LIST" + bytes(60), "video"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(60), "AppleDouble"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    ],
)
def test_other_containers_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=name) as caught:
        decode(data)
    assert caught.value.code == "image_format_unsupported"


def test_a_heic_of_tiles_that_ends_early_is_truncated() -> None:
    """libheif would give it with grey where tiles are missing."""
    large = np.tile(photo(), (10, 8, 1))
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(large)).save(file, quality=80, tile_size=256)
    whole = file.getvalue()
    assert decode(whole).shape == large.shape
    for share in (0.3, 0.6, 0.99):
        with pytest.raises(ImageError) as caught:
            decode(whole[: int(share * len(whole))])
        assert caught.value.code == "image_truncated"


def with_segment(marker: int, body: bytes, data: bytes) -> bytes:
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE1, b"Exif\0\0"),
        (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(60_000)),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1"),
        (0xE2, b"ICC_PROFILE\0\1\2only the first of two"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xED, b"Photoshop 3.0\x008BIM\4\x04"),
        (0xEE, b"Adobe"),
        (0xFE, bytes(65_533)),
    ],
)
def test_no_segment_refuses_a_jpegs_pixels(marker: int, body: bytes) -> None:
    plain = encoded(photo(), "JPEG")
    np.testing.assert_array_equal(decode(with_segment(marker, body, plain)), decode(plain))


def test_a_jpegs_profile_in_several_segments_is_put_together() -> None:
    icc = profile("p3")
    plain, parts = encoded(photo(), "JPEG", quality=95), [icc[:200], icc[200:900], icc[900:]]
    data = plain
    for number in (2, 1, 3):  # in any order
        data = with_segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 3)) + parts[number - 1], data)
    np.testing.assert_array_equal(decode(data), decode(encoded(photo(), "JPEG", quality=95, icc_profile=icc)))


def test_the_colour_that_a_deep_png_calls_transparent_becomes_white() -> None:
    """Pillow compares 16 bits of the key with 8 of the samples."""
    levels = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(">u2")
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)),
        (b"tRNS", levels[3, 4].tobytes()),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in levels))),
        (b"IEND", b""),
    ):
        PngImagePlugin.putchunk(file, kind, body)
    expected = levels / 257.0
    expected[3, 4] = 255
    assert np.abs(decode(file.getvalue()) - expected).max() <= 1

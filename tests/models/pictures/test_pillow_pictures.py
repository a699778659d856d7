"""A picture that Pillow has opened is what its file is; one that it has decoded or made is converted by the same rules."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from models.pictures import colour
from models.pictures.image import decode
from models.pictures.inputs import as_image
from tests.cases.test_tiff import preview_and_full
from tests.cases.tiffs import one

P3 = colour.code_points_profile(12, 13)
Y, X = np.mgrid[:48, :64] / np.array([48, 64])[:, None, None]
PHOTO = (40 + 170 * np.stack([X, Y, (1 - X) * Y], axis=2)).astype(np.uint8)
XMP = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(PHOTO).convert(mode).save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def with_chunk(kind: bytes, body: bytes) -> bytes:
    data = encoded("PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def same(given: Image.Image, data: bytes) -> None:
    found, expected = as_image(given), decode(data)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() == 0


@pytest.mark.parametrize("state", ["fresh", "loaded", "copied"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("options", [{"icc_profile": P3}, {"exif": exif(6)}, {"icc_profile": P3, "exif": exif(7)}, {"icc_profile": b"broken" * 40}, {"xmp": XMP}])  # fmt: skip
def test_colours_and_orientation_are_those_of_the_file(kind: str, options: dict[str, Any], state: str) -> None:
    data = encoded(kind, **options)
    with Image.open(io.BytesIO(data)) as picture:
        if state != "fresh":
            picture.load()
        same(picture.copy() if state == "copied" else picture, data)


DEEP = (PHOTO[..., :1].astype(np.uint16) * 257).astype(np.uint16)
ONLY_IN_FILES: dict[str, Callable[[], bytes]] = {
    "code points": lambda: with_chunk(b"cICP", bytes((12, 13, 0, 1))),
    "a transparent grey of 16 bits": lambda: encoded("PNG", "L", transparency=60),
    "a negative of 16 bits": lambda: one(DEEP, 16, 0),
    "the picture after a preview": lambda: preview_and_full(sub=False, flag=True),
    "32 bits": lambda: one(PHOTO[..., :1].astype(np.int32) * 900, 32, 1),
    "floats": lambda: one((PHOTO[..., :1] / 255 / 2).astype(np.float32), 32, 1),
    "Lab with another profile": lambda: one(PHOTO, 8, 8, t34675=P3 or b""),
}


@pytest.mark.parametrize("what", ONLY_IN_FILES)
def test_what_pillow_reads_otherwise_is_read_from_the_file(what: str) -> None:
    data = ONLY_IN_FILES[what]()
    with Image.open(io.BytesIO(data)) as picture:
        same(picture, data)
        same(picture, data)  # it can still be used


def test_gamma_is_known_after_loading_too() -> None:
    data = with_chunk(b"gAMA", struct.pack(">I", 100_000))
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        same(picture, data)


def test_a_picture_that_is_wanted_smaller_or_later_is_not_read_again() -> None:
    with Image.open(io.BytesIO(encoded("JPEG"))) as picture:
        picture.draft("RGB", (32, 24))
        assert as_image(picture).shape == (24, 32, 3)
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "TIFF", save_all=True, append_images=[Image.fromarray(255 - PHOTO)])
    with Image.open(file) as pages:
        pages.seek(1)
        np.testing.assert_array_equal(as_image(pages), 255 - PHOTO)


def test_formats_that_are_no_files_of_ours_are_taken_as_pillow_reads_them() -> None:
    with Image.open(io.BytesIO(encoded("PPM"))) as picture:
        np.testing.assert_array_equal(as_image(picture), PHOTO)


def test_what_was_turned_already_is_not_turned_again() -> None:
    with Image.open(io.BytesIO(encoded("PNG", exif=exif(6)))) as picture:
        np.testing.assert_array_equal(as_image(ImageOps.exif_transpose(picture)), np.rot90(PHOTO, -1))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_orientation_is_that_of_pillows_own_transposition(kind: str, orientation: int) -> None:
    data = encoded(kind, exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize(("mode", "factor"), [("I", 1), ("I", 200), ("F", 1), ("F", 1 / 255)])
def test_deep_modes_that_were_made_are_taken_by_their_range(mode: str, factor: float) -> None:
    values = (PHOTO[..., 0].astype(float) * factor).astype(np.int32 if mode == "I" else np.float32)
    full = 65535 if factor == 200 else 255 * min(1, factor)
    expected = np.rint(values / full * 255)
    assert np.abs(as_image(Image.fromarray(values))[..., 0] - expected).max() <= 1

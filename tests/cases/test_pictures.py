"""Colours, containers and metadata as phones, cameras and programs write them; all made here, by code."""

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from contracts.pictures import Seen, format_of, look
from infra.runtime.settings import ImageSettings
from models.errors import ImageError
from models.pictures import colour
from models.pictures.image import decode
from web.requests.images import read_header

Picture = NDArray[np.uint8]
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def photo(height: int = 48, width: int = 64) -> Picture:
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    return (40 + 170 * np.stack([x, y, (1 - x) * y], axis=2)).astype(np.uint8)


def encoded(picture: Picture | Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()


def heic(picture: Picture | Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    pillow_heif.from_pillow(image).save(file, **{"quality": -1, "chroma": 444, **options})
    return file.getvalue()


def profile(space: str) -> bytes:
    made = {
        "p3": colour.code_points_profile(12, 13),
        "linear": colour.code_points_profile(1, 8),
        "srgb": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }[space]
    assert made is not None
    return made


def managed(picture: Picture, icc: bytes) -> Picture:
    """Independently: Pillow's own call."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(picture), source, ImageCms.createProfile("sRGB")))


def apart(found: Picture, expected: Picture) -> float:
    return float(np.percentile(np.abs(found.astype(int) - expected.astype(int)), 99))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("space", ["p3", "linear"])
def test_a_profile_is_applied_in_every_format(kind: str, space: str) -> None:
    options = {"quality": 98} if kind in {"JPEG", "AVIF"} else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(photo(), kind, icc_profile=profile(space), **options)
    expected = managed(photo(), profile(space))
    assert apart(decode(data), expected) <= (12 if kind in {"JPEG", "AVIF"} else 0)
    assert apart(photo(), expected) > 12
    assert apart(decode(data, colour_managed=False), photo()) <= (8 if kind in {"JPEG", "AVIF"} else 0)


def test_display_p3_is_wider_than_srgb() -> None:
    """By the numbers of the standard, not by a library: a P3 of (200, 100, 100) is an sRGB of (211, 96, 98)."""
    data = encoded(np.full((20, 20, 3), (200, 100, 100), np.uint8), "PNG", icc_profile=profile("p3"))
    assert np.abs(decode(data)[0, 0].astype(int) - [213, 95, 97]).max() <= 3


@pytest.mark.parametrize(
    "icc",
    [b"", b"broken", profile("p3")[:200], bytes(500), profile("srgb")],
    ids=["empty", "broken", "cut", "zeros", "srgb"],
)
def test_srgb_and_broken_profiles_change_nothing(icc: bytes) -> None:
    np.testing.assert_array_equal(decode(encoded(photo(), "PNG", icc_profile=icc or None)), photo())


def test_a_grey_picture_with_a_colour_profile_is_converted() -> None:
    grey = photo()[..., 0]
    expected = managed(np.repeat(grey[..., None], 3, axis=2), profile("linear"))
    np.testing.assert_array_equal(decode(encoded(grey, "PNG", icc_profile=profile("linear"))), expected)


def test_transparent_pictures_are_converted_too() -> None:
    alpha = Image.fromarray(photo()).convert("RGBA")
    data = encoded(alpha, "PNG", icc_profile=profile("p3"))
    np.testing.assert_array_equal(decode(data), managed(photo(), profile("p3")))


def with_chunks(picture: Picture, *chunks: tuple[bytes, bytes]) -> bytes:
    data = encoded(picture, "PNG")
    added = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return data[:33] + added + data[33:]


def test_what_a_png_says_of_its_colours() -> None:
    p3 = managed(photo(), profile("p3"))
    np.testing.assert_array_equal(decode(with_chunks(photo(), (b"cICP", bytes((12, 13, 0, 1))))), p3)
    np.testing.assert_array_equal(decode(with_chunks(photo(), (b"cICP", bytes((1, 13, 0, 1))))), photo())
    gamma = with_chunks(photo(), (b"gAMA", struct.pack(">I", 100_000)))
    assert apart(decode(gamma), managed(photo(), profile("linear"))) <= 1
    np.testing.assert_array_equal(decode(with_chunks(photo(), (b"gAMA", struct.pack(">I", 45455)))), photo())


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * 3_000_000)),
        (b"tEXt", b"Comment\0" + b"a" * 3_000_000),
        (b"iCCP", b"name\0\0" + zlib.compress(np.random.default_rng(0).bytes(2_000_000))),
        (b"iCCP", b"name\0\0no zlib"),
        (b"eXIf", b"II*\0\xff\xff\xff\xff"),
        (b"gAMA", bytes(4)),
        (b"cHRM", bytes(32)),
    ],
)
def test_no_metadata_refuse_a_pngs_pixels(chunk: tuple[bytes, bytes]) -> None:
    data = with_chunks(photo(), chunk)
    np.testing.assert_array_equal(decode(data), photo())
    assert isinstance(read_header(data, ImageSettings()), Seen)


def bitmap(masks: tuple[int, int, int, int], picture: Picture, alpha: int = 255, bits: int = 32) -> bytes:
    packed = np.zeros(picture.shape[:2], np.uint64)
    for channel, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            level = picture[..., channel] if channel < 3 else np.uint8(alpha)
            packed |= np.rint(level / 255.0 * (mask >> shift)).astype(np.uint64) << np.uint64(shift)
    height, width = picture.shape[:2]
    header = struct.pack("<IiiHHIIiiII4I", 56, width, -height, 1, bits, 3, 0, 0, 0, 0, 0, *masks)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 70) + header + packed.astype(f"<u{bits // 8}").tobytes()


@pytest.mark.parametrize(
    ("masks", "bits", "within"),
    [
        ((0xFF00, 0xFF0000, 0xFF000000, 0), 32, 0),
        ((0x3FF00000, 0xFFC00, 0x3FF, 0), 32, 0),
        ((0xFF, 0xFF00, 0xFF0000, 0), 32, 0),
        ((0x7FF00000, 0xFFE00, 0x1FF, 0), 32, 1),
        ((0xF00, 0xF0, 0xF, 0xF000), 16, 9),
        ((0x1F, 0x7E0, 0xF800, 0), 16, 5),
        ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32, 0),
    ],
)
def test_bitmaps_of_any_masks(masks: tuple[int, int, int, int], bits: int, within: int) -> None:
    found = decode(bitmap(masks, photo(), bits=bits))
    assert np.abs(found.astype(int) - photo().astype(int)).max() <= within
    if masks[3]:
        np.testing.assert_array_equal(found, decode(bitmap(masks, photo(), alpha=0, bits=bits)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bitmaps_as_pillow_writes_them(mode: str) -> None:
    image = Image.fromarray(photo(48, 61)).convert(mode)
    np.testing.assert_array_equal(decode(encoded(image, "BMP")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("make", [heic, lambda picture: encoded(picture, "AVIF", quality=98)], ids=["HEIC", "AVIF"])
def test_what_phones_send_is_read(make: object) -> None:
    data = make(photo())  # type: ignore[operator]
    assert apart(decode(data), photo()) <= 6
    seen = look(data)
    assert (seen.width, seen.height) == (64, 48)
    assert read_header(data, ImageSettings()) == Seen(seen.format, 64, 48)
    for limits, code in (({"max_pixels": 3071}, "image_too_large"), ({"min_side_px": 49}, "image_too_small")):
        with pytest.raises(ImageError) as caught:
            decode(data, **dict[str, Any](limits))
        assert caught.value.code == code


def test_heic_bursts_orientation_alpha_and_colours() -> None:
    file = pillow_heif.from_pillow(Image.fromarray(photo()[::-1]))
    file.add_from_pillow(Image.fromarray(photo()))
    burst = io.BytesIO()
    file.save(burst, quality=-1, chroma=444, primary_index=1)
    assert apart(decode(burst.getvalue()), photo()) <= 4  # the primary one, not the first
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.register_heif_opener()
    turned = encoded(photo(), "HEIF", exif=exif.tobytes(), quality=-1, chroma=444)
    assert apart(decode(turned), np.rot90(photo(), -1)) <= 4
    see_through = Image.fromarray(photo()).convert("RGBA")
    see_through.putalpha(Image.fromarray(np.repeat([[0], [255]], 24, axis=0).repeat(64, axis=1).astype(np.uint8)))
    found = decode(heic(see_through))
    assert (found[:20] > 250).all()
    assert apart(found[28:], photo()[28:]) <= 4
    p3 = Image.fromarray(photo())
    p3.info["icc_profile"] = profile("p3")
    assert apart(decode(heic(p3)), managed(photo(), profile("p3"))) <= 6


@pytest.mark.parametrize("make", [heic, lambda picture: encoded(picture, "AVIF")], ids=["HEIC", "AVIF"])
def test_damage_to_phone_pictures_is_no_crash(make: object) -> None:
    whole = make(photo())  # type: ignore[operator]
    random = np.random.default_rng(3)
    for _ in range(120):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        data = bytes(damaged[: random.integers(1, len(whole) + 1)])
        read_header(data, ImageSettings())
        with suppress(ImageError):
            decode(data, max_pixels=1_000_000)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40), "RAW"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(40), "RAW"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "RAW"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x1cftypisom" + bytes(40), "video"),
        (b"\0\0\1\0\1\0" + bytes(40), "ICO"),
        (b"\xff\xd8\xff\xc3\0\x0b\x08\0\x40\0\x40\1\1\x11\0" + bytes(40), "lossless"),
        (b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x40\0\x40\1\1\x11\0" + bytes(40), "12 bits"),
    ],
)
def test_others_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=name) as caught:
        decode(data)
    assert caught.value.code == "image_format_unsupported"


def test_the_setting_alone_decides_how_large_a_picture_may_be() -> None:
    """Above 179 megapixels Pillow would refuse by a limit of its own."""
    side = 13_500
    rows = zlib.compressobj(1)
    body = b"".join([*(rows.compress(bytes(side // 8 + 2)) for _ in range(side)), rows.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    for kind, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        PngImagePlugin.putchunk(file, kind, data)
    limit = Image.MAX_IMAGE_PIXELS
    assert isinstance(read_header(file.getvalue(), ImageSettings(max_pixels=200_000_000)), Seen)
    with pytest.raises(ImageError, match="more than the 100000000 allowed"):
        decode(file.getvalue(), max_pixels=100_000_000)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {}), ("AVIF", {}), ("HEIF", {})]
    + [("TIFF", {"compression": name}) for name in ("raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")],
)
def test_pillows_own_limit_overrules_no_format(
    monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, object]
) -> None:
    data = heic(photo()) if kind == "HEIF" else encoded(photo(), kind, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(data).shape == (48, 64, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_phones_fifty_megapixels_are_taken_by_default() -> None:
    data = encoded(Image.new("L", (8192, 6144)), "JPEG")
    assert read_header(data, ImageSettings()) == Seen("JPEG", 8192, 6144)
    assert format_of(data) == "JPEG"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_grey_that_a_png_calls_transparent_becomes_white(bits: int) -> None:
    """Of a 2- and 4-bit picture Pillow compares the key with samples that it has scaled."""
    levels = np.random.default_rng(0).integers(0, 1 << bits, (16, 16))
    key = int(levels[3, 4])
    single = levels[..., None] >> np.arange(bits - 1, -1, -1) & 1
    rows = np.packbits(single.reshape(16, -1).astype(np.uint8), axis=1)
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, bits, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", key)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"IEND", b""),
    ):
        PngImagePlugin.putchunk(file, kind, body)
    expected = np.where(levels == key, 255, np.rint(levels * 255 / ((1 << bits) - 1)))
    assert np.abs(decode(file.getvalue())[..., 0] - expected).max() <= 1

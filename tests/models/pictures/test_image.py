"""Whatever people send becomes upright RGB of 8 bits, or one error with a stable code."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import ImageError
from models.pictures.image import crop, decode, normalize, resize

Picture = NDArray[np.uint8]


def photo(height: int = 40, width: int = 60) -> Picture:
    """Smooth, not symmetric in any way, so that a turn or a swapped channel shows."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * y], axis=2).astype(np.uint8)


def encoded(picture: Image.Image | Picture, kind: str = "PNG", **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_is(decoded: Picture, expected: Picture, within: float = 0) -> None:
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected.astype(int)).max() <= within


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    assert_is(decode(encoded(photo(), kind)), photo())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_back_nearly(kind: str) -> None:
    assert_is(decode(encoded(photo(), kind, quality=98)), photo(), within=12)


def test_the_first_picture_of_a_camera_file_with_two_is_taken() -> None:
    data = encoded(photo(), "MPO", save_all=True, append_images=[Image.fromarray(photo()[::-1])], quality=98)
    assert_is(decode(data), photo(), within=12)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_picture_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    assert_is(decode(data), np.full((20, 20, 3), (255, 0, 0), np.uint8))


def test_cmyk_becomes_rgb() -> None:
    data = encoded(Image.fromarray(photo()).convert("CMYK"), "JPEG", quality=98)
    assert_is(decode(data), photo(), within=16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind: str) -> None:
    deep = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
    expected = np.repeat(np.rint(deep / 257).astype(np.uint8)[:, :, None], 3, axis=2)
    assert_is(decode(encoded(Image.fromarray(deep), kind)), expected)


def test_sixteen_bit_colour_is_scaled() -> None:
    _, data = cv2.imencode(".png", photo()[:, :, ::-1].astype(np.uint16) * 257)
    assert_is(decode(data.tobytes()), photo())


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_measurements_are_stretched_from_darkest_to_brightest(kind: type) -> None:
    values = np.linspace(-1000, 3000, 20 * 20).reshape(20, 20).astype(kind)
    decoded = decode(encoded(Image.fromarray(values), "TIFF"))
    assert (decoded.min(), decoded.max()) == (0, 255)
    assert (np.diff(decoded[:, :, 0].reshape(-1).astype(int)) >= 0).all()


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_black_and_white_become_rgb(mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    assert_is(decode(encoded(image)), np.asarray(image.convert("RGB")))


def half_transparent(mode: str) -> bytes:
    """Black, its right half transparent."""
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:, :10] = 255
    image = Image.merge("RGBA", [*Image.new("RGB", (20, 20)).split(), Image.fromarray(alpha)])
    if mode == "P":
        palette = Image.new("P", (20, 20))
        palette.putpalette([0, 0, 0, 9, 9, 9])
        palette.paste(1, (10, 0, 20, 20))
        return encoded(palette, transparency=1)
    return encoded(image.convert(mode))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(mode: str) -> None:
    expected = np.zeros((20, 20, 3), np.uint8)
    expected[:, 10:] = 255
    assert_is(decode(half_transparent(mode)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(kind: str, orientation: int) -> None:
    upright = photo()
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98} if kind in {"JPEG", "WEBP"} else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert_is(decode(data), upright, within=16)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_spoils_no_picture() -> None:
    data = encoded(photo(), "JPEG", quality=98, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x41" * 9)
    assert_is(decode(data), photo(), within=12)


def bomb(side: int) -> bytes:
    """A grey PNG of `side` x `side` pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def broken_png() -> bytes:
    data = bytearray(encoded(photo()))
    start = data.index(b"IDAT") + 10
    data[start : start + 30] = bytes(30)
    return bytes(data)


def noise() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "image_empty"),
    "text": (lambda: b"hello, no picture here", "image_not_an_image"),
    "bytes": (lambda: bytes(range(256)), "image_not_an_image"),
    "PDF": (lambda: b"%PDF-1.7\n" + bytes(99), "image_format_unsupported"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(40), "image_format_unsupported"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_format_unsupported"),
    "ICO": (lambda: encoded(photo(64, 64), "ICO"), "image_format_unsupported"),
    "one pixel": (lambda: encoded(photo(1, 1)), "image_too_small"),
    "a line": (lambda: encoded(photo(1, 600)), "image_too_small"),
    "half a JPEG": (lambda: half(encoded(noise(), "JPEG")), "image_truncated"),
    "half a PNG": (lambda: half(encoded(noise(), "PNG")), "image_truncated"),
    "half a WebP": (lambda: half(encoded(noise(), "WEBP")), "image_truncated"),
    "half a BMP": (lambda: half(encoded(noise(), "BMP")), "image_truncated"),
    "half a GIF": (lambda: half(encoded(noise(), "GIF")), "image_truncated"),
    "a JPEG's head": (lambda: encoded(noise(), "JPEG")[:20], "image_truncated"),
    "a damaged PNG": (broken_png, "image_unreadable"),
    "65 megapixels": (lambda: bomb(8_062), "image_too_large"),
    "100 megapixels": (lambda: bomb(10_000), "image_too_large"),
    "400 megapixels": (lambda: bomb(20_000), "image_too_large"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as in the service, where it only warns
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_usable_picture_has_its_code(name: str) -> None:
    make, code = BAD[name]
    with pytest.raises(ImageError) as caught:
        decode(make())
    assert caught.value.code == code
    assert "\n" not in caught.value.detail


def test_the_limits_are_the_callers() -> None:
    data = encoded(photo(40, 60))
    assert decode(data, max_pixels=2400, min_side_px=40).shape == (40, 60, 3)
    for limits, code in (({"max_pixels": 2399}, "image_too_large"), ({"min_side_px": 41}, "image_too_small")):
        with pytest.raises(ImageError) as caught:
            decode(data, **limits)
        assert caught.value.code == code


def test_a_crop_cuts_its_corners_to_whole_pixels_of_the_image() -> None:
    image = photo(40, 60)
    np.testing.assert_array_equal(crop(image, (3.9, 5.2, 10.9, 20.7)), image[5:20, 3:10])
    np.testing.assert_array_equal(crop(image, (-7.5, -0.5, 900, 12)), image[:12, :60])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 5, 5), (60, 0, 70, 10), (-9, 0, -1, 10), (3.1, 0, 3.9, 5)])
def test_a_box_without_a_pixel_is_an_error(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageError) as caught:
        crop(photo(), box)
    assert caught.value.code == "box_empty"


def test_linear_resizing_is_interpolation_between_pixel_centres() -> None:
    image = photo(6, 9)
    big = resize(image, 12, 18, "linear").astype(float)
    for y, x in ((5, 7), (6, 8), (4, 10)):  # inside, each new pixel lies a quarter of an old one off its centre
        sy, sx = (y + 0.5) / 2 - 0.5, (x + 0.5) / 2 - 0.5
        y0, x0 = int(sy), int(sx)
        fy, fx = sy - y0, sx - x0
        rows = image[y0 : y0 + 2, x0 : x0 + 2].astype(float)
        expected = (rows[0, 0] * (1 - fx) + rows[0, 1] * fx) * (1 - fy) + (rows[1, 0] * (1 - fx) + rows[1, 1] * fx) * fy
        assert np.abs(big[y, x] - expected).max() <= 1


def test_cubic_resizing_is_opencvs_and_overshoots_at_edges() -> None:
    step = np.zeros((8, 8, 3), np.uint8)
    step[:, 4:] = 200
    big = resize(step, 32, 32, "cubic")
    assert big.max() > 200  # a linear filter would not
    np.testing.assert_array_equal(big, cv2.resize(step, (32, 32), interpolation=cv2.INTER_CUBIC))


def test_normalising_is_the_formula() -> None:
    image, mean, std = photo(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = ((image / 255 - mean) / std).transpose(2, 0, 1)
    planes = normalize(image, mean, std)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes, expected, atol=1e-6)


def test_area_averages_what_it_shrinks() -> None:
    """A photo of a phone is shrunk tenfold: the picture must not depend on which pixels were hit."""
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize(stripes, 16, 16, "area")
    assert (small == 100).all()
    blocks = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    large = np.kron(blocks, np.ones((400, 400, 1), np.uint8))
    np.testing.assert_array_equal(resize(large, 4, 4, "area"), blocks)

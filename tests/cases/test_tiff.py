"""A sweep over what a TIFF may be: depth, sense, planes, byte order and alpha, against the numbers that were written.

Where OpenCV (libtiff) and tifffile read a variant too, they are asked as second decoders.
"""

import io
import itertools
from contextlib import suppress

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from contracts.pictures import look
from models.errors import ImageError
from models.pictures.image import decode
from tests.cases.tiffs import one, page_tags, strips, tiff

HEIGHT, WIDTH = 19, 26
ORDERS = ["<", ">"]


def shares(samples: int = 3) -> NDArray[np.float64]:
    """(H, W, samples) in 0 .. 1, smooth and nowhere symmetric."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / np.array([HEIGHT - 1, WIDTH - 1])[:, None, None]
    return np.stack([x, y, (1 - x) * y, 1 - x * y], axis=2)[:, :, :samples]


def uint(values: NDArray[np.float64], bits: int) -> NDArray[np.generic]:
    kind = next(size for size in (8, 16, 32) if bits <= size)
    return np.rint(values * ((1 << bits) - 1)).astype(f"u{kind // 8}")


def eight(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


def differ(data: bytes, expected: NDArray[np.generic]) -> int:
    found = decode(data, min_side_px=1).astype(int)
    assert found.shape[:2] == expected.shape[:2]
    return int(np.abs(found - expected.astype(int)).max())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [*range(1, 17)])
def test_grey_of_every_depth_and_sense(bits: int, photometric: int, order: str) -> None:
    stored = uint(shares(1), bits)
    seen = stored / ((1 << bits) - 1)
    expected = eight(1 - seen if photometric == 0 else seen)
    assert differ(one(stored, bits, photometric, order), expected) <= 1


@pytest.mark.parametrize(
    ("bits", "planar", "order"), list(itertools.product([2, 4, 8, 10, 12, 14, 16], [1, 2], ORDERS))
)
@pytest.mark.parametrize(
    ("photometric", "extra"), [(2, ()), (2, (0,)), (2, (1,)), (2, (2,)), (0, (2,)), (1, (1,)), (1, (0,)), (5, ())]
)
def test_colours_alpha_and_planes(bits: int, planar: int, order: str, photometric: int, extra: tuple[int, ...]) -> None:
    number = {0: 1, 1: 1, 2: 3, 5: 4}[photometric]
    colours = shares(number)
    alpha = 0.25 + shares(1) / 2 if extra else shares(0)
    if extra == (1,):
        colours = colours * alpha
    stored = uint(np.concatenate([colours, alpha], axis=2), bits)
    real = stored / ((1 << bits) - 1)
    seen, opacity = real[..., :number], real[..., number:]
    if photometric == 0:
        seen = 1 - seen
    if photometric == 5:
        seen = (1 - seen[..., :3]) * (1 - seen[..., 3:])
    if extra == (2,):
        seen = seen * opacity + 1 - opacity
    elif extra == (1,):
        seen = seen + 1 - opacity
    data = one(stored, bits, photometric, order, planar, **({"extra": extra} if extra else {}))
    assert differ(data, eight(np.clip(seen, 0, 1))) <= (3 if extra == (1,) else 2)
    with tifffile.TiffFile(io.BytesIO(data)) as file:  # the file says what it was meant to say
        report = file.pages[0].asarray() if bits in {8, 16} else None
    if report is not None:
        report = np.moveaxis(report, 0, 2) if planar == 2 and report.ndim == 3 else report.reshape(stored.shape)
        np.testing.assert_array_equal(report, stored)


@pytest.mark.parametrize(
    ("bits", "photometric", "planar", "order"),
    [one for one in itertools.product([8, 16], [1, 2], [1, 2], ORDERS) if one[0] * one[2] < 32],
)
def test_opencv_reads_the_same(bits: int, photometric: int, planar: int, order: str) -> None:
    """But for separate planes of 16 bits, which OpenCV mixes up."""
    stored = uint(shares(3 if photometric == 2 else 1), bits)
    data = one(stored, bits, photometric, order, planar)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert theirs is not None
    theirs = theirs.reshape(*theirs.shape[:2], -1)[..., ::-1] / ((1 << bits) - 1)
    assert differ(data, eight(theirs)) <= 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(bits: int, order: str) -> None:
    stored = uint(shares(1), bits)
    colours = np.random.default_rng(0).integers(0, 256, (1 << bits, 3))
    data = one(stored, bits, 3, order, t320=(colours.T * 257).reshape(-1).tolist())
    assert differ(data, colours[stored[..., 0]]) == 0


@pytest.mark.parametrize(
    ("kind", "order", "planar"), list(itertools.product(["f2", "f4", "f8", "i1", "i2", "i4", "u4"], ORDERS, [1, 2]))
)
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_numbers_without_a_range_are_stretched(kind: str, order: str, planar: int, photometric: int) -> None:
    low, high = (
        (-50, 3000) if kind[0] == "f" else (-100, 100) if kind == "i1" else (10 if kind[0] == "u" else -900, 20_000)
    )
    stored = (low + shares(3 if photometric == 2 else 1) * (high - low)).astype(kind)
    seen = (stored.astype(float) - stored.min()) / (float(stored.max()) - float(stored.min()))
    data = one(stored, 8 * stored.itemsize, photometric, order, planar)
    assert differ(data, eight(1 - seen if photometric == 0 else seen)) <= 1


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_within_one_are_shares_of_white(kind: str) -> None:
    stored = (shares() / 2).astype(kind)
    assert differ(one(stored, 8 * stored.itemsize, 2), eight(stored.astype(float))) <= 1
    stored[3, 4] = np.nan
    assert decode(one(stored, 8 * stored.itemsize, 2), min_side_px=1)[3, 4].tolist() == [0, 0, 0]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_what_tifffile_writes(
    compression: str | None, tile: tuple[int, int] | None, predictor: bool, kind: str, bigtiff: bool
) -> None:
    if predictor and (compression is None or kind == "f4"):
        pytest.skip("tifffile writes no such file without its codecs")
    stored = shares().astype(kind) if kind[0] == "f" else uint(shares(), 8 * np.dtype(kind).itemsize)
    file = io.BytesIO()
    tifffile.imwrite(file, stored, photometric="rgb", compression=compression, tile=tile, predictor=predictor, bigtiff=bigtiff, rowsperstrip=None if tile else 5)  # fmt: skip
    assert differ(file.getvalue(), eight(shares())) <= 1


@pytest.mark.parametrize("photometric", [8, 9])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_grey_is_grey_and_red_is_red(photometric: int, bits: int) -> None:
    lab = np.zeros((10, 10, 3))
    lab[..., 0], lab[5:, :, 1], lab[5:, :, 2] = 53.6, 80.8, 69.9  # sRGB's red, of white D50: 54.3, 80.8, 69.9
    lab[5:, :, 0] = 54.3
    unit, half = 1 << (bits - 8), 1 << (bits - 1)
    stored = np.rint(lab * [((1 << bits) - 1) / 100, unit, unit]).astype(np.int64)
    stored[..., 1:] = stored[..., 1:] + half if photometric == 9 else stored[..., 1:] % (2 * half)
    found = decode(one(stored.astype(f"u{bits // 8}"), bits, photometric)).astype(int)
    assert np.ptp(found[0, 0]) <= 1
    assert abs(found[0, 0, 0] - 128) <= 2
    assert np.abs(found[9, 9] - [255, 0, 0]).max() <= 9


def preview_and_full(sub: bool, flag: bool, photometric: int = 2) -> bytes:
    small = np.full((12, 16, 3), 200, np.uint8)
    full = uint(shares(3), 8) if photometric == 2 else uint(shares(1), 16)
    first = page_tags(small, 8, 2) | ({254: [1]} if flag else {}) | {274: [6]}
    second = page_tags(full, 8 if photometric == 2 else 16, photometric)
    return tiff([(first, strips(small, 8, "<", 1)), (second, strips(full, second[258][0], "<", 1))], sub=sub)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("sub", [True, False])
def test_the_full_picture_behind_a_preview_is_taken(sub: bool, flag: bool) -> None:
    data = preview_and_full(sub, flag)
    assert (look(data).width, look(data).height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(decode(data), np.rot90(eight(shares()), -1))  # the first page says which way is up


def test_a_cameras_raw_file_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="RAW") as caught:
        decode(preview_and_full(sub=True, flag=True, photometric=32803))
    assert caught.value.code == "image_format_unsupported"


def test_the_first_of_several_pages_is_taken() -> None:
    pages = [uint(shares(), 8), uint(shares()[::-1], 8)]
    data = tiff([(page_tags(page, 8, 2), strips(page, 8, "<", 1)) for page in pages])
    assert differ(data, pages[0]) == 0


def test_damage_anywhere_is_an_error_of_the_picture_or_a_picture() -> None:
    whole = preview_and_full(sub=True, flag=False)
    random = np.random.default_rng(1)
    for _ in range(400):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] = random.integers(0, 256)
        with suppress(ImageError):
            assert decode(bytes(damaged[: random.integers(8, len(whole) + 1)]), max_pixels=1_000_000).dtype == np.uint8

"""Colours as the file means them, in sRGB: by its ICC profile, by its code points, or by its primaries and gamma.

LittleCMS converts (Pillow's ImageCms), with the rendering intent that Pillow and browsers take: perceptual. A profile that
changes nothing (sRGB by any of its names) costs no pixel anything, and a broken one is as if there were none.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MOST_BYTES = 16 * 1024 * 1024
MOST_KEPT = 16  # transforms; those of a phone and of a few cameras
SAME = 2  # levels that a profile may change and still be sRGB
SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of a profile: the mode of the pixels that it is for
D50, D65 = (0.9642, 1.0, 0.8249), (0.3127, 0.3290)
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# ITU-T H.273. What is not here (BT.601 and unspecified ones) is taken for sRGB, as browsers do.
PRIMARIES = {
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI P3
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
HDR_WHITE = 203 / 10_000  # of PQ's peak: the reference white of ITU-R BT.2408
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_transforms: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()
_guard = threading.Lock()


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` (mode L, RGB or CMYK) as RGB; by `profile` where that is whole, for such pixels, and not sRGB anyway."""
    transform = None if profile is None else _transform(profile, image.mode)
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    mode = transform.input_mode
    return ImageCms.applyTransform(image if image.mode == mode else image.convert(mode), transform) or image


def code_points_profile(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile of H.273's code points; None where they are sRGB's, or are taken for them."""
    curves: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        4: lambda v: v**2.2,
        5: lambda v: v**2.8,
        8: lambda v: v,
        16: _pq,
        18: _hlg,
    }
    curve = curves.get(transfer)
    if curve is None and primaries not in PRIMARIES:
        return None
    white = (0.314, 0.351) if primaries == 11 else D65
    return _matrix_profile(PRIMARIES.get(primaries, SRGB_PRIMARIES), white, curve or _srgb)


def gamma_profile(gamma: float | None, chromaticities: Sequence[float] | None) -> bytes | None:
    """Of a PNG's gAMA (of the encoding, 0.45455 is usual) and cHRM (x, y of white, red, green, blue); None for sRGB's."""
    usual = gamma is None or not 0.05 < gamma < 5 or abs(gamma - 0.45455) < 0.005
    near = chromaticities is None or np.abs(np.subtract(chromaticities, (*D65, *SRGB_PRIMARIES))).max() < 0.002
    if usual and near:
        return None
    white = D65 if chromaticities is None else (chromaticities[0], chromaticities[1])
    primaries = SRGB_PRIMARIES if chromaticities is None else chromaticities[2:]
    exponent = 1.0 if gamma is None else 1 / gamma
    try:
        return _matrix_profile(primaries, white, _srgb if usual else lambda v: v**exponent)
    except (ValueError, ZeroDivisionError, struct.error, np.linalg.LinAlgError):  # points that span no colours
        return None


def lab_to_srgb(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(..., 3) CIE L*a*b* of white D50, L in 0 .. 100, as uint8 RGB."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * (3 * (6 / 29) ** 2)) * np.array(D50)
    linear = np.clip(xyz @ np.linalg.inv(_to_d50(SRGB_PRIMARIES, D65)).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What turns pixels of `mode` into sRGB; None where nothing has to be or can be done. Made once for each profile."""
    key = (hashlib.sha256(profile).digest(), mode)
    with _guard:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    made = _made(profile, mode)
    with _guard:
        _transforms[key] = made
        while len(_transforms) > MOST_KEPT:
            _transforms.popitem(last=False)
    return made


def _made(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    if len(profile) > MOST_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        wanted = SPACES.get(source.profile.xcolor_space, "")
        if wanted != mode and (wanted, mode) != ("RGB", "L"):  # a grey picture may bear its camera's RGB profile
            return None
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, wanted, "RGB", ImageCms.Intent.PERCEPTUAL)
        return None if wanted != "CMYK" and _changes_nothing(transform, wanted) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
        return None  # a broken profile spoils no picture


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 18 if mode == "RGB" else 256).round().astype(np.uint8)
    if mode == "RGB":
        samples = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, levels.size, 3)
        expected = samples
    else:
        samples, expected = levels[None], np.repeat(levels[None, :, None], 3, axis=2)
    after = ImageCms.applyTransform(Image.fromarray(samples), transform)
    return bool(np.abs(np.asarray(after, int) - expected.astype(int)).max() <= SAME)


def _srgb(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _pq(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084; what is brighter than a diffuse white is cut."""
    power = v ** (1 / 78.84375)
    light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return np.asarray(np.minimum(light / HDR_WHITE, 1), np.float64)


def _hlg(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """ARIB STD-B67; its reference white is at 75 % of the signal."""
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    white = (np.exp((0.75 - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.asarray(np.minimum((scene / white) ** 1.2, 1), np.float64)


def _to_d50(primaries: Sequence[float], white: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3): linear RGB of these primaries and this white to XYZ of white D50."""
    points = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    source = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    matrix = points * np.linalg.solve(points, source)
    cones = (BRADFORD @ D50) / (BRADFORD @ source)
    return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ matrix)


def _matrix_profile(
    primaries: Sequence[float], white: Sequence[float], curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> bytes:
    """A display profile of ICC version 2 (ICC.1:2001-04): three colorants and one curve."""

    def xyz(values: Sequence[float]) -> bytes:
        return struct.pack(">4s4x3i", b"XYZ ", *(round(float(value) * 65536) for value in values))

    table = np.rint(np.clip(curve(np.linspace(0, 1, 1024)), 0, 1) * 65535).astype(">u2")
    matrix = _to_d50(primaries, white)
    curves = struct.pack(">4s4xI", b"curv", table.size) + table.tobytes()
    tags = {
        b"wtpt": xyz(D50),
        **{name: xyz(matrix[:, i].tolist()) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
    }
    start = 128 + 4 + 12 * (len(tags) + 3)
    index, body = b"", b""
    for name, value in tags.items():
        index += struct.pack(">4sII", name, start + len(body), len(value))
        body += value
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        index += struct.pack(">4sII", name, start + len(body), len(curves))
    body += curves
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s12x4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", *(round(value * 65536) for value in D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags) + 3) + index + body

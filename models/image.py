"""Encoded pictures in, RGB arrays out: decoding that refuses what it should, cropping, resizing, normalising.

Pillow decodes, because it tells a picture that was cut short from a whole one and reads the size before the pixels.
Resizing is OpenCV's, because the networks were trained with its filters.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from models.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
MIN_SIDE_PX = 8
MOST_ELONGATED = 16  # times as long as wide
INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
BOX_MARGIN = 0.06  # of a detected box' sides, on each side: of 0 to 0.15 the best on drinks and grocery photos together
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in 0 .. 1
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Beginnings of what people send by mistake: (offset, bytes, name)
KNOWN_OTHERS = (
    (4, b"ftypavif", "AVIF"), (4, b"ftyphei", "HEIC"), (4, b"ftyphev", "HEIC"), (4, b"ftypmif1", "HEIC"),
    (4, b"ftyp", "a video"), (0, b"%PDF", "PDF"), (0, b"8BPS", "Photoshop"), (0, b"\0\0\1\0", "ICO"),
    (0, b"<svg", "SVG"), (0, b"<?xml", "XML"), (0, b"<!DOCTYPE", "a web page"), (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)  # fmt: skip
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def decode(image_bytes: bytes, *, max_pixels: int = MAX_PIXELS, min_side_px: int = MIN_SIDE_PX) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 3) uint8 RGB, contiguous, turned upright as its EXIF says.

    The first picture of several; transparent parts become white; 16-bit values are scaled to 8. The sizes of the header
    are checked before a pixel is decoded. Raises ImageError: image_empty, image_not_an_image, image_format_unsupported,
    image_unreadable, image_truncated, image_too_large, image_too_small.
    """
    if not image_bytes:
        raise ImageError("The file is empty.", "image_empty")
    try:
        with Image.open(io.BytesIO(image_bytes), formats=FORMATS) as image:
            _check_size(*image.size, max_pixels, min_side_px)
            image.load()
            pixels = _rgb(_upright(image))
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"The picture has more than the {max_pixels} pixels allowed.", "image_too_large") from error
    except MemoryError as error:
        raise ImageError("The picture needs more memory than there is.", "image_too_large") from error
    except Exception as error:  # broken data makes Pillow raise whatever its parser stumbled over
        raise _not_decoded(image_bytes, error) from error
    return np.ascontiguousarray(pixels)


def of_picture(
    picture: Image.Image, *, max_pixels: int = MAX_PIXELS, min_side_px: int = MIN_SIDE_PX
) -> NDArray[np.uint8]:
    """A picture that Pillow has opened or made, of any mode, as `decode` gives the same picture in a file."""
    try:
        _check_size(*picture.size, max_pixels, min_side_px)
        picture.load()
        return np.ascontiguousarray(_rgb(_upright(picture)))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("The picture needs more memory than there is.", "image_too_large") from error
    except Exception as error:  # closed, cut short, or of a mode without a conversion
        raise ImageError("The picture's data are broken, or its file was closed.", "image_unreadable") from error


def crop(image: NDArray[np.uint8], box: Sequence[float]) -> NDArray[np.uint8]:
    """The pixels of `box` (x1, y1, x2, y2), its corners cut to whole numbers and to the image; a view.

    Raises ImageError: box_empty.
    """
    height, width = image.shape[:2]
    x1, x2 = (min(max(int(x), 0), width) for x in (box[0], box[2]))
    y1, y2 = (min(max(int(y), 0), height) for y in (box[1], box[3]))
    if x1 >= x2 or y1 >= y2:
        raise ImageError(f"The box {tuple(box)} holds no pixel of the picture.", "box_empty")
    return image[y1:y2, x1:x2]


def whole_pixels(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """`box` with its corners cut to whole numbers, within the image and at least one pixel wide and high."""
    x1, y1 = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    x2, y2 = max(min(int(box[2]), width), x1 + 1), max(min(int(box[3]), height), y1 + 1)
    return x1, y1, x2, y2


def with_margin(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """What is embedded of a detected `box`: BOX_MARGIN of its sides more all around, cut to whole pixels of the image.

    Photos are searched and pictures are enrolled (`crop=main_body`) with the same margin: a box that is a little off
    then still holds all of its body. What is reported stays the box.
    """
    along, across = BOX_MARGIN * (box[2] - box[0]), BOX_MARGIN * (box[3] - box[1])
    return whole_pixels((box[0] - along, box[1] - across, box[2] + along, box[3] + across), height, width)


def resize(image: NDArray[np.uint8], height: int, width: int, interpolation: str) -> NDArray[np.uint8]:
    """(H, W, 3) -> (height, width, 3) without keeping the ratio; `interpolation` "linear", "cubic" or "area" as OpenCV has them.

    "area" averages what it shrinks; the other two pass over most pixels of a large picture, as PaddleClas' networks saw it.
    """
    return np.asarray(cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[interpolation]), np.uint8)


def resize_and_centre(
    image: NDArray[np.uint8], short: int, height: int, width: int, interpolation: str
) -> NDArray[np.uint8]:
    """(H, W, 3) -> (height, width, 3): the shorter side brought to `short` with the ratio kept, then the middle taken."""
    image = _without_far_ends(image)
    ratio = short / min(image.shape[:2])
    resized = resize(image, round(image.shape[0] * ratio), round(image.shape[1] * ratio), interpolation)
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return resized[top : top + height, left : left + width]


def normalize(image: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> (3, H, W) float32: (value / 255 - mean) / std for each channel."""
    values = np.arange(256, dtype=np.float32)[None] / np.float32(255)
    table = (values - np.asarray(mean, np.float32)[:, None]) / np.asarray(std, np.float32)[:, None]  # (3, 256)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(image)):  # a look-up is exact, and faster than the arithmetic
        cv2.LUT(plane, table[channel], dst=planes[channel])
    return planes


def _without_far_ends(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A strip's middle: its ends would be cut off anyway, after they had been made many times larger."""
    most = MOST_ELONGATED * min(image.shape[:2])
    top, left = (max(0, (side - most) // 2) for side in image.shape[:2])
    return image[top : image.shape[0] - top, left : image.shape[1] - left]


def _check_size(width: int, height: int, max_pixels: int, min_side_px: int) -> None:
    if width * height > max_pixels:
        detail = f"The picture has {width} x {height} pixels, more than the {max_pixels} allowed."
        raise ImageError(detail, "image_too_large")
    if min(width, height) < min_side_px:
        detail = f"The picture has {width} x {height} pixels; each side needs at least {min_side_px}."
        raise ImageError(detail, "image_too_small")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken EXIF spoils no picture
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return _grey((deep * 255 + 32767) // 65535)
    if image.mode in {"I", "F"}:  # measurements without a fixed range: darkest to brightest
        deep = np.asarray(image, np.float64)
        low, high = float(deep.min()), float(deep.max())
        if not np.isfinite([low, high]).all():
            raise ImageError("The picture holds values that are no numbers.", "image_unreadable")
        return _grey(np.rint((deep - low) * (255 / max(high - low, 1e-12))))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"), np.uint8)


def _grey(levels: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)


def _not_decoded(data: bytes, error: Exception) -> ImageError:
    if isinstance(error, UnidentifiedImageError) and not data.startswith(BEGINNINGS) and data[8:12] != b"WEBP":
        for start, beginning, name in KNOWN_OTHERS:
            if data[start : start + len(beginning)].lower() == beginning.lower():
                return ImageError(f"This is {name}, not a picture that is read.", "image_format_unsupported")
        return ImageError("This is not a picture that can be read.", "image_not_an_image")
    if "truncated" in str(error) or _ends_early(data):
        return ImageError("The picture ends too early; it was not sent or stored whole.", "image_truncated")
    return ImageError("The picture's data are broken.", "image_unreadable")


def _ends_early(data: bytes) -> bool:
    """Whether a picture that failed to decode lacks its own format's end."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-64:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"GIF8"):
        return not data.endswith(b";")
    if data.startswith(b"RIFF"):
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    return False

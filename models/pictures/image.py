"""Encoded pictures in, RGB arrays out; cropping, resizing, normalising.

How the formats are read is in models.pictures.decoding. Resizing is OpenCV's, because the networks were trained with its filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from contracts.pictures import MAX_PIXELS, PictureRefusedError, Seen, format_of, look
from models.errors import ImageError
from models.pictures.decoding import ends_early, pixels_of, read_pixels, unread_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

MIN_SIDE_PX = 8
MOST_ELONGATED = 16  # times as long as wide
INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
BOX_MARGIN = 0.06  # of a detected box' sides, on each side: of 0 to 0.15 the best on drinks and grocery photos together
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in 0 .. 1


def decode(
    image_bytes: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side_px: int = MIN_SIDE_PX,
    colour_managed: bool = True,
) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 3) uint8 RGB, contiguous, turned upright as the file says, its colours in sRGB.

    The main picture of several; transparent parts become white; deeper values are scaled to 8 bits. The sizes of the header
    are checked before a pixel is decoded. `colour_managed=False` leaves the values of the file as they are, as OpenCV
    does. docs/inputs.md has it in full. Raises ImageError: image_empty, image_not_an_image, image_format_unsupported,
    image_unreadable, image_truncated, image_too_large, image_too_small.
    """
    try:
        seen = look(image_bytes)
        seen.require_size(max_pixels, min_side_px)
        return read_pixels(image_bytes, seen, max_pixels, min_side_px, colour_managed=colour_managed)
    except PictureRefusedError as error:
        if error.code == "image_unreadable" and ends_early(image_bytes, format_of(image_bytes)):
            raise ImageError(
                "The picture ends too early; it was not sent or stored whole.", "image_truncated"
            ) from error
        raise ImageError(error.detail, error.code) from error


def of_picture(
    picture: Image.Image, *, max_pixels: int = MAX_PIXELS, min_side_px: int = MIN_SIDE_PX
) -> NDArray[np.uint8]:
    """A picture that Pillow has opened or made, of any mode, as `decode` gives the same picture in a file.

    Of one that is opened and not loaded yet the file itself is read. Raises ImageError.
    """
    try:
        data = unread_file(picture)
        if data is not None:
            return decode(data, max_pixels=max_pixels, min_side_px=min_side_px)
        Seen("picture", *picture.size).require_size(max_pixels, min_side_px)
        return pixels_of(picture)
    except (ImageError, PictureRefusedError) as error:
        raise ImageError(error.detail, error.code) from error
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
    then still holds all of its object. What is reported stays the box.
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

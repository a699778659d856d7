"""Looks at an uploaded picture's header only: what never can be recognised is refused before a job exists.

Nothing is decompressed here, so a 400-megapixel bomb costs as much as a thumbnail. What only decoding can tell (a file
cut short, broken data) is the worker's to find: the job then fails with the picture's own error. The reasons are the
image errors' codes of the worker, so that a client reads one vocabulary.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from infra.errors import RejectedImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.settings import ImageSettings

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # what Pillow calls a JPEG of a camera that appends more pictures
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
}
# Beginnings of what people send by mistake, so that the answer can say what it is. (start, bytes, name)
KNOWN_OTHERS = (
    (4, b"ftyphei", "HEIC"), (4, b"ftyphev", "HEIC"), (4, b"ftypmif1", "HEIC"), (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "a video"), (0, b"%PDF", "PDF"), (0, b"8BPS", "Photoshop"), (0, b"<svg", "SVG"), (0, b"<?xml", "XML"),
    (0, b"\0\0\1\0", "ICO"), (0, b"<!DOCTYPE", "a web page"), (0, b"<html", "a web page"), (0, b"PK\x03\x04", "a ZIP archive"),
)  # fmt: skip
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class ImageHeader:
    """What the header says; sizes as stored, before any EXIF rotation."""

    width: int
    height: int
    format: str
    media_type: str


@dataclass(frozen=True)
class Refusal:
    """Why a picture is refused: the image error's code and a sentence for the user."""

    code: str
    detail: str


@dataclass(frozen=True)
class Upload:
    """A picture as it was sent: its bytes and the name the client gave it."""

    data: bytes
    name: str


def check_image(upload: Upload, limits: ImageSettings, pointer: str = "/image") -> ImageHeader:
    """The header of one picture. Raises RejectedImage."""
    (checked,) = check_images([upload], limits, [pointer])
    if isinstance(checked, Refusal):  # check_images raised
        raise RejectedImage(checked.detail, reason=checked.code)
    return checked


def check_images(
    uploads: Sequence[Upload], limits: ImageSettings, pointers: Sequence[str]
) -> list[ImageHeader | Refusal]:
    """The header of each picture, or why it is refused; raises RejectedImage, naming all, only if none can be used."""
    headers: list[ImageHeader | Refusal] = []
    errors = []
    for upload, pointer in zip(uploads, pointers, strict=True):
        checked = read_header(upload.data, limits)
        if isinstance(checked, Refusal):
            errors.append({"pointer": pointer, "name": upload.name, "code": checked.code, "detail": checked.detail})
        headers.append(checked)
    if len(errors) == len(uploads):
        first = errors[0]
        detail = (
            str(first["detail"])
            if len(uploads) == 1
            else f"None of the {len(uploads)} pictures can be used. The first is {first['name']!r}: {first['detail']}"
        )
        raise RejectedImage(detail, reason=first["code"], errors=errors)
    return headers


def read_header(data: bytes, limits: ImageSettings) -> ImageHeader | Refusal:
    """What the first bytes of `data` say, or why the picture is refused."""
    if not data:
        return Refusal("image_empty", "The file is empty.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height, found = *image.size, str(image.format)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Refusal("image_too_large", f"The picture has far more than the {limits.max_pixels} pixels allowed.")
    except Exception:  # a broken header makes Pillow raise whatever its parser stumbled over
        return _not_readable(data)
    if width * height > limits.max_pixels:
        return Refusal(
            "image_too_large",
            f"The picture has {width} × {height} pixels, more than the {limits.max_pixels} allowed.",
        )
    if min(width, height) < limits.min_side_px:
        return Refusal(
            "image_too_small",
            f"The picture has {width} × {height} pixels; each side needs at least {limits.min_side_px}.",
        )
    return ImageHeader(width, height, found, MEDIA_TYPES[found])


def media_type(data: bytes) -> str:
    """The media type of a stored picture, by its first bytes; a neutral one for anything else."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return MEDIA_TYPES[str(image.format)]
    except Exception:  # as in read_header
        return "application/octet-stream"


def _not_readable(data: bytes) -> Refusal:
    if data.startswith(BEGINNINGS) or data[8:12] == b"WEBP":
        return Refusal("image_unreadable", "The picture's header is broken, or the file was cut short.")
    for start, beginning, name in KNOWN_OTHERS:
        if data[start : start + len(beginning)].lower() == beginning.lower():
            return Refusal("image_format_unsupported", f"This is {name}, not a picture that is read. {_SEND}")
    return Refusal("image_not_an_image", f"This is not a picture that can be read. {_SEND}")


_SEND = "Send JPEG, PNG, WebP, BMP, GIF or TIFF."

"""Stored pictures made smaller, within bounds: at most so many pixels are decoded, by few threads at a time.

A JPEG is decoded at an eighth, a quarter or a half of its size where that is enough, so that a large photo costs little.
Formats that few browsers show, and large files of others, are read from the JPEG that a worker keeps next to them
(`previews/…`): a web process decodes no HEIC and no TIFF.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from contracts.pictures import LARGE_PIXELS, PictureRefusedError, look
from infra.errors.photos import ObjectNotFound, PictureNotRenderable
from infra.objects.store import preview_key

if TYPE_CHECKING:
    from infra.objects.store import ObjectStore

QUALITY = 85
TALLEST_PX = 4096  # whatever the width: a picture may be very long
MOST_PIXELS = 100_000_000  # of a JPEG, which is not decoded whole
RENDERED = frozenset({"JPEG", "PNG", "WEBP", "GIF", "AVIF"})  # of these only Pillow's own decoders are used
ROTATED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap the sides
ORIENTATION = 0x0112
MOST_PROFILE_BYTES = 1 << 16


def thumbnail(objects: ObjectStore, key: str, width: int) -> bytes:
    """The picture `key` as a JPEG of at most `width` pixels across, upright, never enlarged.

    Raises ObjectNotFound, PictureNotRenderable, StorageUnavailable.
    """
    return as_jpeg(small(objects, key, width))


def small(objects: ObjectStore, key: str, width: int) -> Image.Image:
    """The picture as pixels, RGB and upright, at most `width` across. Raises as `thumbnail`."""
    try:
        data = objects.get(preview_key(key))
    except ObjectNotFound:
        data = objects.get(key)
    return decoded(data, width)


def decoded(data: bytes, width: int) -> Image.Image:
    """A picture file as pixels, RGB and upright, at most `width` across. Raises PictureNotRenderable."""
    try:
        seen = look(data)
    except PictureRefusedError as error:
        raise PictureNotRenderable("This is no picture that can be made smaller.") from error
    if seen.format not in RENDERED or seen.width * seen.height > (
        MOST_PIXELS if seen.format == "JPEG" else LARGE_PIXELS
    ):
        raise PictureNotRenderable(
            "A picture of this format and size is shown once a worker has looked at it.", retryable=True
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that is not used
            with Image.open(io.BytesIO(data), formats=[seen.format]) as file:
                return _upright(file, width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureNotRenderable("The picture's data are broken.") from error


def as_jpeg(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """As a file, with its colour profile."""
    file = io.BytesIO()
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > MOST_PROFILE_BYTES:
        profile = None
    picture.save(file, "JPEG", quality=quality, icc_profile=profile, optimize=False)
    return file.getvalue()


def _upright(file: Image.Image, width: int) -> Image.Image:
    turned = file.getexif().get(ORIENTATION) in ROTATED
    bounds = (TALLEST_PX, width) if turned else (width, TALLEST_PX)
    file.draft("RGB", bounds)
    profile = file.info.get("icc_profile") if file.mode == "RGB" else None
    file.thumbnail(bounds, Image.Resampling.LANCZOS)
    upright = ImageOps.exif_transpose(file)
    if upright.mode.startswith("I"):  # 16 bits of grey
        upright = upright.convert("I").point(lambda value: value / 257).convert("L")
    if upright.has_transparency_data:
        clear = upright.convert("RGBA")
        upright = Image.new("RGB", clear.size, (255, 255, 255))
        upright.paste(clear, mask=clear.getchannel("A"))
    small = upright.convert("RGB")
    small.info = {"icc_profile": profile} if profile else {}
    return small

"""The formats' pixels: a picture's bytes and its header in, upright sRGB of 8 bits out, a band of rows at a time.

Pillow decodes most formats, because it recognises a picture that was cut short. What it reads wrongly or not
at all is read in models.pictures.tiff and models.pictures.bmp; libheif reads HEIC. Only the decoder's own copy of the picture and the
result are held whole, so that a picture's memory is bounded by its pixels: seven bytes each for a photo (a WebP sixteen).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from contracts import heif_boxes, jpeg_segments, png_chunks, tiff_pages
from contracts.pictures import PictureRefusedError, Seen, format_of, look
from models.errors import ImageError
from models.pictures import bmp, colour, tiff
from models.pictures.pillow_limit import without_pillows_limit

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bands = Iterator[tuple[int, Image.Image]]
BAND_PIXELS = 1_000_000
PLUGINS: dict[
    str, Any
] = {  # opened directly: Image.open would look at all formats, and tries a camera's further pictures first
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
DEEP_LEVELS = ((np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def read_pixels(
    data: bytes, seen: Seen, max_pixels: int, min_side_px: int, *, colour_managed: bool
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, contiguous. Raises ImageError, PictureRefusedError."""
    reader = {"TIFF": _tiff, "BMP": _bmp, "HEIF": _heif, "PNG": _png, "AVIF": _avif, "JPEG": _jpeg}.get(
        seen.format, _other
    )
    try:
        size, orientation, profile, bands = reader(data, seen)
        Seen(seen.format, *size).require_size(max_pixels, min_side_px)  # a decoder may know better than the header
        pixels = np.empty((size[1], size[0], 3), np.uint8)
        filled = 0
        for top, band in bands:
            rows = _rgb(band, profile if colour_managed else None)
            pixels[top : top + len(rows)] = rows
            filled = max(filled, top + len(rows))
        if filled < size[1]:
            raise tiff.truncated()
    except (ImageError, PictureRefusedError):
        raise
    except MemoryError as error:
        raise ImageError("The picture needs more memory than there is.", "image_too_large") from error
    except Exception as error:  # broken data makes a decoder raise whatever its parser stumbled over
        raise _not_decoded(data, seen, error) from error
    return _upright(pixels, orientation)


def unread_file(image: Image.Image) -> bytes | None:
    """The file of a picture that Pillow has opened and not decoded yet, if its format is one of ours; None otherwise.

    Its pixels are still what the file says, so `decode` knows better: Pillow reads some formats wrongly, and a camera's
    preview for the photo.
    """
    file: Any = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or file is None or image.tell() != 0:
        return None
    try:
        position = file.tell()
        file.seek(0)
        data = bytes(file.read())
        file.seek(position)
    except (OSError, ValueError, AttributeError):  # closed, or no file at all
        return None
    shrunk = image.format == "JPEG" and look(data).size != image.size  # by `draft`: fewer pixels are wanted
    return None if shrunk or format_of(data) is None else data


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a picture that Pillow has decoded or made, of any mode, as `read_pixels` has it of a file. Raises what Pillow raises."""
    image.load()
    profile = image.info.get("icc_profile")
    if profile is None and image.format == "PNG" and "srgb" not in image.info and image.mode in {"RGB", "RGBA", "P"}:
        profile = colour.gamma_profile(image.info.get("gamma"), image.info.get("chromaticity"))
    orientation = _orientation_of(image)  # a conversion forgets some of it
    if image.mode in {"I", "F", "I;16B", "I;16N", "LAB", "HSV", "YCbCr", "La", "PA"}:
        profile = None if image.mode == "LAB" else profile
        image = _plain_mode(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        rows = _rgb(band, profile)
        pixels[top : top + len(rows)] = rows
    return _upright(pixels, orientation)


def _plain_mode(image: Image.Image) -> Image.Image:
    """Pillow's rarer modes as those that files are read in: deep ones by their range, colour spaces as RGB."""
    if image.mode in {"I;16B", "I;16N"}:
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode in {"I", "F"}:
        values = np.nan_to_num(np.asarray(image, np.float64))
        low, high = 0.0, 255.0 if values.max(initial=0.0) > 1.0 or image.mode == "I" else 1.0
        high = 65535.0 if values.max(initial=0.0) > 255.0 else high
        if high > 1.0 and (image.format == "TIFF" or values.max() > high or values.min() < 0):  # as of a TIFF
            low, high = float(values.min()), float(values.max())
        scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
        return Image.fromarray(np.rint(scaled * 255).astype(np.uint8))
    if image.mode == "LAB":
        stored = np.asarray(image)
        lab = np.concatenate([stored[..., :1] * np.float32(100 / 255), stored[..., 1:].view(np.int8)], axis=2)
        return Image.fromarray(colour.lab_to_srgb(lab.astype(np.float32)))
    return image.convert({"La": "LA", "PA": "RGBA"}.get(image.mode, "RGB"))


def _orientation_of(image: Image.Image) -> int:
    """By EXIF, as of a file: Pillow would take XMP's word too."""
    if any(name in image.info for name in ("xmp", "XML:com.adobe.xmp")):
        return _orientation(image.info.get("exif", b""))
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF spoils no picture
        return 1


Opened = tuple[tuple[int, int], int, bytes | None, Bands]  # width and height, EXIF orientation, ICC profile, rows


def _other(data: bytes, seen: Seen) -> Opened:
    with without_pillows_limit():
        image = PLUGINS[seen.format](io.BytesIO(data))
    return image.size, _orientation(image.info.get("exif", b"")), image.info.get("icc_profile"), _bands(image)


def _jpeg(data: bytes, _: Seen) -> Opened:
    profile, exif = jpeg_segments.profile_and_exif(data)
    with without_pillows_limit():
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg_segments.pixels_only(data)))
    return image.size, _orientation(exif), profile, _bands(image)


def _png(data: bytes, _: Seen) -> Opened:
    declared, exif = png_chunks.colours_and_exif(data)
    with without_pillows_limit():
        image: Image.Image = PngImagePlugin.PngImageFile(io.BytesIO(png_chunks.pixels_only(data)))
    bits, kind = data[24], data[25]
    if kind == 0 and bits in {2, 4} and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= 255 // ((1 << bits) - 1)  # Pillow scales the samples, and leaves the key as it is
    if bits == 16 and kind == 2 and "transparency" in image.info:
        image = _keyed_deep_rgb(data)
    profile = None
    if declared.cicp:
        profile = colour.code_points_profile(*declared.cicp)
    elif declared.icc_profile:
        profile = declared.icc_profile
    elif not declared.srgb and image.mode not in {"1", "L", "LA", "I;16"}:
        profile = colour.gamma_profile(declared.gamma, declared.chromaticities)
    return image.size, _orientation(exif), profile, _bands(image)


def _keyed_deep_rgb(data: bytes) -> Image.Image:
    """A PNG of 16 bits with a transparent colour: Pillow would compare its low bytes with samples cut to their high ones."""
    deep = cv2.imdecode(np.frombuffer(png_chunks.pixels_only(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[2:] != (4,):
        raise ImageError("The picture's data are broken.", "image_unreadable")
    return Image.fromarray(DEEP_LEVELS[deep[..., [2, 1, 0, 3]]])


def _avif(data: bytes, seen: Seen) -> Opened:
    size, orientation, profile, bands = _other(data, seen)
    if profile is None:
        declared = heif_boxes.main_picture(data).cicp
        profile = None if declared is None else colour.code_points_profile(*declared)
    return size, orientation, profile, bands


def _heif(data: bytes, _: Seen) -> Opened:
    try:
        import pillow_heif
    except ImportError as error:  # left out for its licences: NOTICE
        raise ImageError(
            "HEIC is not read here: the package pillow-heif is not installed.", "image_format_unsupported"
        ) from error

    HeifFile: Any = pillow_heif.HeifFile  # untyped

    declared = heif_boxes.main_picture(data)
    if heif_boxes.ends_early(data):  # libheif would leave the tiles that are missing out
        raise tiff.truncated()
    pillow_heif.options.DECODE_THREADS = 1  # a worker's threads are its jobs'
    with without_pillows_limit():
        file = HeifFile(io.BytesIO(data), convert_hdr_to_8bit=True)
        main = file[file.primary_index]
        image = main.to_pillow()  # turned upright already
    if main.premultiplied_alpha and image.mode == "RGBA":
        image = Image.frombytes("RGBa", image.size, image.tobytes())
    profile = declared.icc_profile
    if profile is None and declared.cicp is not None:
        profile = colour.code_points_profile(*declared.cicp)
    return image.size, 1, profile, _bands(image)


def _bmp(data: bytes, seen: Seen) -> Opened:
    bitmap = bmp.read(data)
    if bitmap is None:
        return _other(data, seen)
    return (bitmap.width, len(bitmap.rows)), 1, None, bmp.bands(bitmap)


def _tiff(data: bytes, seen: Seen) -> Opened:
    page = tiff_pages.picture_of(data)
    profile = bytes(page.tags.get(tiff_pages.ICC_PROFILE, b"")) or None
    if page.photometric in {8, 9}:
        profile = None  # Lab needs none: what there is would be of other pixels
    orientation = page.number(tiff_pages.ORIENTATION, 1)
    with without_pillows_limit():
        image = tiff.by_pillow(data, page)
    if image is not None:
        return image.size, orientation, profile, _bands(image)
    return (seen.width, seen.height), orientation, profile, tiff.bands(data, page)


def _bands(image: Image.Image) -> Bands:
    with without_pillows_limit():
        image.load()
    height = max(1, BAND_PIXELS // image.width)
    key = image.info.get("transparency")
    for top in range(0, image.height, height):
        whole = image.height <= height
        band = image if whole else image.crop((0, top, image.width, min(top + height, image.height)))
        if image.mode.startswith("I;16"):
            deep = np.asarray(band)
            grey = Image.fromarray(DEEP_LEVELS[deep])
            if isinstance(key, int):
                grey.putalpha(Image.fromarray(np.where(deep == key, 0, 255).astype(np.uint8)))
            yield top, grey.convert("RGBA") if isinstance(key, int) else grey
        elif image.has_transparency_data:
            yield top, band if band.mode == "RGBa" else band.convert("RGBA")
        else:
            yield top, band if band.mode in {"L", "RGB", "CMYK"} else band.convert("L" if band.mode == "1" else "RGB")


def _rgb(band: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    if band.mode in {"L", "RGB", "CMYK"}:
        return np.asarray(colour.to_srgb(band, profile), np.uint8)
    layer = band.convert("RGBA")  # takes what a premultiplied alpha has darkened back
    if profile is not None:
        managed = colour.to_srgb(layer.convert("RGB"), profile)
        managed.putalpha(layer.getchannel("A"))
        layer = managed
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, layer).convert("RGB"), np.uint8)


def _orientation(block: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF spoils no picture
        return 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turned and mirrored as EXIF's number says; anything but 2 to 8 leaves it as it is."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _not_decoded(data: bytes, seen: Seen, error: Exception) -> ImageError:
    if "truncated" in str(error) or ends_early(data, seen.format):
        return ImageError("The picture ends too early; it was not sent or stored whole.", "image_truncated")
    if isinstance(error, NotImplementedError) or "Unsupported" in str(error) or "not supported" in str(error):
        return ImageError(f"This kind of {seen.format} is not read.", "image_format_unsupported")
    return ImageError("The picture's data are broken.", "image_unreadable")


def ends_early(data: bytes, kind: str | None) -> bool:
    """Whether a picture that failed to decode lacks its own format's end."""
    if kind == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    if kind == "GIF":
        return not data.endswith(b";")
    if kind == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if kind == "TIFF":
        return tiff_pages.ends_early(data)
    return kind in {"HEIF", "AVIF"} and heif_boxes.ends_early(data)

"""Which pictures are read, and what the first bytes of one say: its format and size, or why it is refused.

The front looks here before it accepts an upload, and the worker before it decodes: one rule, one vocabulary. Nothing is
decompressed, so a picture of 400 megapixels costs as much as a thumbnail.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from contracts import heif_boxes, jpeg_segments, png_chunks, tiff_pages

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "HEIF": "image/heic",
    "AVIF": "image/avif",
}
ENDINGS = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
)  # fmt: skip
MAX_PIXELS = 64_500_000  # the phones of "64 megapixels" make 9248 x 6936
MIN_SIDE_PX = 16
LARGE_PIXELS = 25_000_000  # of a picture that is not a JPEG: people see the worker's rendering of larger ones
SEND = "Send JPEG, PNG, WebP, HEIC, AVIF, BMP, GIF or TIFF."
# Beginnings of what people send by mistake, so that the answer can say what it is: (start, bytes, name)
KNOWN_OTHERS = (
    (0, b"%PDF", "PDF"), (0, b"8BPS", "Photoshop"), (0, b"\0\0\1\0", "ICO"), (0, b"\0\0\2\0", "a cursor"), (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"), (0, b"<!DOCTYPE", "a web page"), (0, b"<html", "a web page"), (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\xff\x0a", "JPEG XL"), (0, b"\0\0\0\x0cJXL ", "JPEG XL"), (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"), (0, b"II\xbc", "JPEG XR"), (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"), (0, b"DDS ", "DDS"), (0, b"qoif", "QOI"), (0, b"gimp xcf", "GIMP's own format"),
    (0, b"%!PS", "PostScript"), (0, b"\x1a\x45\xdf\xa3", "a video"), (0, b"FUJIFILMCCD-RAW", "a camera's RAW file"),
    (0, b"IIRO", "a camera's RAW file"), (0, b"IIRS", "a camera's RAW file"), (0, b"MMOR", "a camera's RAW file"),
    (0, b"IIU\0", "a camera's RAW file"), (0, b"FOVb", "a camera's RAW file"), (0, b"\0MRM", "a camera's RAW file"),
    (0, b"P1\n", "PBM"), (0, b"P2\n", "PGM"), (0, b"P3\n", "PPM"), (0, b"P4\n", "PBM"), (0, b"P5\n", "PGM"), (0, b"P6\n", "PPM"),
    (0, b"\x0a\x05\x01", "PCX"), (0, b"\x01\xda", "SGI"), (0, b"icns", "ICNS"), (0, b"#define", "XBM"), (0, b"/* XPM", "XPM"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"), (40, b" EMF", "EMF"), (0, b"FLIF", "FLIF"), (0, b"BPG\xfb", "BPG"), (0, b"farbfeld", "farbfeld"),
    (0, b"#?RGBE", "Radiance HDR"), (0, b"\x1f\x8b", "a gzip archive"), (0, b"Rar!", "a RAR archive"), (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (8, b"AVI ", "a video"), (8, b"WAVE", "a sound"), (0, b"ID3", "a sound"), (4, b"moov", "a video"), (4, b"mdat", "a video"),
    (0, b"\0\5\x16\7", "what a Mac keeps next to a file (AppleDouble)"), (0, b"version https://git-lfs", "a pointer of Git LFS"),
    (4, b"ftyp", "a video"),
)  # fmt: skip
JPEG_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # baseline, extended and progressive; the last two with arithmetic coding
NO_JPEG_FRAMES = (0xC4, 0xC8, 0xCC)


class PictureRefusedError(Exception):
    """The bytes are no picture that can be used. `code` is stable and part of the API, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(frozen=True)
class Seen:
    """What the header says; size as stored, before it is turned upright."""

    format: str
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def media_type(self) -> str:
        """For HTTP."""
        return MEDIA_TYPES[self.format]

    def require_size(self, max_pixels: int, min_side_px: int) -> None:
        """Raises PictureRefusedError: image_too_large, image_too_small."""
        size = f"The picture has {self.width} x {self.height} pixels"
        if self.width * self.height > max_pixels:
            raise PictureRefusedError("image_too_large", f"{size}, more than the {max_pixels} allowed.")
        if min(self.width, self.height) < min_side_px:
            raise PictureRefusedError("image_too_small", f"{size}; each side needs at least {min_side_px}.")


def look(data: bytes) -> Seen:
    """Raises PictureRefusedError: image_empty, image_not_an_image, image_format_unsupported, image_unreadable."""
    if not data:
        raise PictureRefusedError("image_empty", "The file is empty.")
    found = format_of(data)
    if found is None:
        raise _no_picture(data)
    try:
        width, height = SIZES[found](data)
    except (struct.error, IndexError) as error:
        raise _broken() from error
    if width <= 0 or height <= 0:
        raise _broken()
    return Seen(found, width, height)


def format_of(data: bytes) -> str | None:
    """One of MEDIA_TYPES, by the first bytes; None for anything else."""
    if data[4:8] == b"ftyp" and len(data) >= 12:
        found = heif_boxes.brands(data)
        if found & heif_boxes.AVIF_BRANDS and data[8:12] not in heif_boxes.HEIC_BRANDS - {b"mif1", b"mif2", b"msf1"}:
            return "AVIF"
        return "HEIF" if found & heif_boxes.HEIC_BRANDS else None
    if data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    beginnings = {"JPEG": b"\xff\xd8\xff", "PNG": png_chunks.SIGNATURE, "GIF": b"GIF8", "BMP": b"BM"}
    return next((name for name, beginning in beginnings.items() if data.startswith(beginning)), None)


def _broken() -> PictureRefusedError:
    return PictureRefusedError("image_unreadable", "The picture's header is broken, or the file was cut short.")


def _unsupported(what: str) -> PictureRefusedError:
    return PictureRefusedError("image_format_unsupported", f"{what} {SEND}")


def _no_picture(data: bytes) -> PictureRefusedError:
    if data.startswith(b"\0\0\2\0\0\0"):  # what would be a cursor file without a cursor
        return _unsupported("This is TGA, not a picture that is read.")
    text = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()  # of an SVG or a web page
    names = [(8, brand, name) for brand, name in heif_boxes.OTHER_BRANDS.items()] if data[4:8] == b"ftyp" else []
    for start, beginning, name in (*names, *KNOWN_OTHERS):
        if any(given[start : start + len(beginning)].lower() == beginning.lower() for given in (data, text)):
            return _unsupported(f"This is {name}, not a picture that is read.")
    return PictureRefusedError("image_not_an_image", f"This is not a picture that can be read. {SEND}")


def jpeg_components(data: bytes) -> int:
    """How many colours a JPEG's pixels have: 4 are CMYK or YCCK. 0 where its frame is not found."""
    try:
        return _jpeg_frame(data)[2]
    except (PictureRefusedError, struct.error, IndexError):
        return 0


def _jpeg(data: bytes) -> tuple[int, int]:
    return _jpeg_frame(data)[:2]


def _jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Width, height, components."""
    for marker, start, _ in jpeg_segments.segments(data):
        if marker == jpeg_segments.SOS:  # pixels before a frame
            break
        if 0xC0 <= marker <= 0xCF and marker not in NO_JPEG_FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", data, start + 4)
            if marker not in JPEG_FRAMES:
                raise _unsupported("This is a lossless or hierarchical JPEG, which is not read.")
            if bits != 8 or components not in {1, 3, 4}:
                raise _unsupported(f"This is a JPEG of {bits} bits and {components} components, which is not read.")
            return width, height, components
    raise _broken()


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"CgBI":
        raise _unsupported("This is a PNG as Apple's Xcode packs it (CgBI), which is not read.")
    if data[12:16] != b"IHDR":
        raise _broken()
    width, height, _bits = struct.unpack_from(">IIB", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little") if data[29:] else 0
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise _broken()


def _tiff(data: bytes) -> tuple[int, int]:
    if data[8:10] == b"CR":
        raise _unsupported("This is a camera's RAW file (CR2), not a picture that is read.")
    try:
        page = tiff_pages.picture_of(data)
    except tiff_pages.NotTiffError as error:
        raise _broken() from error
    if reason := page.unsupported():
        raise _unsupported(f"This TIFF's picture {reason}.")
    return page.width, page.height


def _heif(data: bytes) -> tuple[int, int]:
    try:
        found = heif_boxes.main_picture(data)
    except heif_boxes.NotHeifError as error:
        if not heif_boxes.ends_early(data) and not heif_boxes.has_items(data):
            raise _unsupported("This HEIC or AVIF file holds no main picture (it may be a sequence).") from error
        raise _broken() from error
    return found.width, found.height


SIZES = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "HEIF": _heif,
    "AVIF": _heif,
}

"""Windows bitmaps of any layout: palettes, and colours in their own bits (masks), of which Pillow reads only a few.

What a mask leaves out is black, or opaque; an alpha that is zero everywhere was never meant. Microsoft's BITMAPV5HEADER.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BAND_PIXELS = 1_000_000
UNCOMPRESSED, BITFIELDS, ALPHA_BITFIELDS = 0, 3, 6
RUN_LENGTH = {1: 8, 2: 4}  # compression: its bits a pixel
NAMES = {4: "an embedded JPEG", 5: "an embedded PNG", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
PLAIN = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}


@dataclass(frozen=True)
class Bitmap:
    """What the header says, and the rows as they are stored."""

    width: int
    bits: int
    masks: tuple[int, ...]  # red, green, blue, alpha; none with a palette
    palette: NDArray[np.uint8]  # (256, 3)
    rows: NDArray[np.uint8]  # (height, bytes a row), the top first


def read(data: bytes) -> Bitmap | None:
    """None where it is run-length encoded, which is Pillow's. Raises ImageError."""
    try:
        return _read(data)
    except struct.error as error:
        raise ImageError("The picture's header is broken.", "image_unreadable") from error


def bands(bitmap: Bitmap) -> Iterator[tuple[int, Image.Image]]:
    """The rows from the top as (first row, RGB or RGBA picture)."""
    height = max(1, BAND_PIXELS // bitmap.width)
    visible = bool(bitmap.masks and bitmap.masks[3]) and any(
        (_packed(bitmap, top, top + height) & np.uint32(bitmap.masks[3])).any()
        for top in range(0, len(bitmap.rows), height)
    )
    for top in range(0, len(bitmap.rows), height):
        if not bitmap.masks:
            yield top, Image.fromarray(bitmap.palette[_indices(bitmap, top, top + height)])
            continue
        packed = _packed(bitmap, top, top + height)
        channels = [_channel(packed, mask) for mask in bitmap.masks[: 4 if visible else 3]]
        yield top, Image.fromarray(np.stack(channels, axis=2))


def _read(data: bytes) -> Bitmap | None:
    offset, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colours, entry = UNCOMPRESSED, 0, 3
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        colours, entry = struct.unpack_from("<I", data, 46)[0] if header >= 40 else 0, 4
    if RUN_LENGTH.get(compression) == bits:
        return None
    known = compression == UNCOMPRESSED or (compression in {BITFIELDS, ALPHA_BITFIELDS} and bits in {16, 24, 32})
    if not known or bits not in {1, 2, 4, 8, *PLAIN} or width <= 0 or header > 1024:
        kind = NAMES.get(compression, f"{bits} bits a pixel in compression {compression}")
        raise ImageError(f"This BMP holds {kind}, which is not read.", "image_format_unsupported")
    number = min(colours or 1 << bits, 256) if bits <= 8 else 0
    after = 14 + header
    masks = PLAIN.get(bits, ())
    if compression != UNCOMPRESSED:
        given = 4 if compression == ALPHA_BITFIELDS or header >= 56 else 3
        masks = (*struct.unpack_from(f"<{given}I", data, 54), 0)[:4]
        after += 4 * given if header == 40 else 0
        if not any(masks):
            masks = PLAIN[bits]
    if offset < after:  # as some writers leave it
        offset = after + entry * number
    row_bytes = (width * bits + 31) // 32 * 4
    height, flipped = abs(height), height > 0
    if len(data) < offset + row_bytes * (height - 1) + (width * bits + 7) // 8:  # the last row's padding may be missing
        raise ImageError("The picture ends too early; it was not sent or stored whole.", "image_truncated")
    body = memoryview(data)[offset : offset + row_bytes * height]
    stored = np.frombuffer(body if len(body) == row_bytes * height else bytes(body).ljust(row_bytes * height), np.uint8)
    rows = stored.reshape(height, row_bytes)
    palette = np.zeros((256, 3), np.uint8)
    table = np.frombuffer(data[after : after + entry * number][: entry * number], np.uint8)
    entries = table[: len(table) // entry * entry].reshape(-1, entry)[:, 2::-1]
    palette[: len(entries)] = entries
    return Bitmap(width, bits, masks, palette, rows[::-1] if flipped else rows)


def _indices(bitmap: Bitmap, top: int, end: int) -> NDArray[np.uint8]:
    rows = bitmap.rows[top:end]
    if bitmap.bits == 8:
        return rows[:, : bitmap.width]
    shifts = np.arange(8 - bitmap.bits, -1, -bitmap.bits, dtype=np.uint8)
    single = (rows[:, :, None] >> shifts) & np.uint8((1 << bitmap.bits) - 1)
    return single.reshape(len(rows), -1)[:, : bitmap.width]


def _packed(bitmap: Bitmap, top: int, end: int) -> NDArray[np.uint32]:
    """(rows, width): each pixel's bits as one number."""
    size = bitmap.bits // 8
    single = bitmap.rows[top:end, : bitmap.width * size].reshape(-1, bitmap.width, size)
    packed = np.zeros(single.shape[:2], np.uint32)
    for position in range(size):
        packed |= single[..., position].astype(np.uint32) << np.uint32(8 * position)
    return packed


def _channel(packed: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    """The bits of `mask` as 0 .. 255: of their full range."""
    if mask == 0:
        return np.zeros(packed.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    values = (packed & np.uint32(mask)) >> np.uint32(shift)
    if most == 255:
        return values.astype(np.uint8)
    return ((values.astype(np.uint64) * 510 + most) // (2 * most)).astype(np.uint8)

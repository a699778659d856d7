"""The segments of a JPEG: those that make its pixels, without all that only describes them, and its colour profile and EXIF.

A picture is not refused for a profile cut short or a maker's note: such segments are left out before it is decoded. With
them goes what says that there are more pictures after the first (MPF). ITU-T T.81, JFIF 1.02, ICC.1 annex B.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

EXIF, ICC, ADOBE, JFIF = b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe", b"JFIF\0"
APP0, APP1, APP2, APP14, APP15, COMMENT, SOS, EOI = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE, 0xDA, 0xD9
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
Segment = tuple[int, int, int]  # its marker, where it begins (with the marker) and ends


def pixels_only(data: bytes) -> bytes:
    """The same picture without the segments that do not make its pixels; as it is, if its segments can't be followed."""
    kept, position = [b"\xff\xd8"], 2
    for marker, start, end in segments(data):
        if marker == SOS:
            position = start
            break
        if _makes_pixels(marker, data[start + 4 : end]):
            kept.append(data[start:end])
    else:
        return data
    return b"".join([*kept, memoryview(data)[position:]])


def profile_and_exif(data: bytes) -> tuple[bytes | None, bytes]:
    """The ICC profile, put together; None where there is none or a part is missing. The first EXIF block, empty if none."""
    parts: dict[int, bytes] = {}
    wanted, exif = 0, b""
    for marker, start, end in segments(data):
        if marker == SOS:
            break
        body = data[start + 4 : end]
        if marker == APP1 and body.startswith(EXIF) and not exif:
            exif = body
        elif marker == APP2 and body.startswith(ICC) and len(body) > len(ICC) + 2:
            number, wanted = body[len(ICC)], body[len(ICC) + 1]
            parts.setdefault(number, body[len(ICC) + 2 :])
    if not wanted or set(parts) != set(range(1, wanted + 1)):
        return None, exif
    return b"".join(parts[number] for number in sorted(parts)), exif


def _makes_pixels(marker: int, body: bytes) -> bool:
    if marker == APP0:
        return body.startswith(JFIF) and len(body) >= 14  # says that the colours are YCbCr
    if marker == APP14:
        return body.startswith(ADOBE) and len(body) >= 12  # says which colours there are
    return not (APP0 <= marker <= APP15 or marker == COMMENT)


def segments(data: bytes) -> Iterator[Segment]:
    """Marker, beginning and end of each, up to the end of the picture or what can't be followed. Bytes between are passed over, as decoders do."""
    position = 2
    while True:
        start = data.find(b"\xff", position)
        while 0 <= start < len(data) - 1 and data[start + 1] == 0xFF:
            start += 1
        if start < 0 or start + 4 > len(data):
            return
        marker = data[start + 1]
        if marker == 0 or marker in WITHOUT_LENGTH:
            position = start + 2
            continue
        if marker == EOI:
            return
        (length,) = struct.unpack_from(">H", data, start + 2)
        yield marker, start, start + 2 + length
        position = start + 2 + max(length, 2)

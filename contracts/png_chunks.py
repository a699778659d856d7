"""The chunks of a PNG: those that make its pixels, without all that only describes them, and what it says of its colours.

A picture is not refused for a megabyte of text, a profile that can't be unpacked or a wrong checksum of either: they are
left out before it is decoded. An animated PNG becomes its default picture. PNG 3rd edition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
MOST_PROFILE_BYTES = 16 * 1024 * 1024
Chunk = tuple[bytes, bytes, int, int]  # kind, body, where it begins and ends


@dataclass(frozen=True)
class PngColours:
    """What is said next to the pixels; the first that is given counts, in this order."""

    cicp: tuple[int, int] | None = None  # colour primaries and transfer characteristics, ITU-T H.273
    icc_profile: bytes | None = None
    srgb: bool = False
    gamma: float | None = None  # of the encoding: 0.45455
    chromaticities: tuple[float, ...] | None = None  # x, y of white, red, green, blue


def pixels_only(data: bytes) -> bytes:
    """The same picture without the chunks that do not make its pixels."""
    kept = [(start, end) for kind, _, start, end in _chunks(data, contents=False) if kind in NEEDED]
    if sum(end - start for start, end in kept) + len(SIGNATURE) == len(data):
        return data
    view = memoryview(data)
    return b"".join([SIGNATURE, *(view[start:end] for start, end in kept)])


def colours_and_exif(data: bytes) -> tuple[PngColours, bytes]:
    """Of the chunks with a right length; of a profile that can't be unpacked nothing. The EXIF block is empty if there is none."""
    found: dict[bytes, bytes] = {}
    for kind, body, _, _ in _chunks(data):
        if kind in {b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"}:
            found.setdefault(kind, body)
    cicp, gamma, chromaticities = (found.get(kind, b"") for kind in (b"cICP", b"gAMA", b"cHRM"))
    colours = PngColours(
        (cicp[0], cicp[1]) if len(cicp) == 4 else None,
        _profile(found.get(b"iCCP", b"")),
        b"sRGB" in found,
        struct.unpack(">I", gamma)[0] / 100_000 if len(gamma) == 4 else None,
        tuple(number / 100_000 for number in struct.unpack(">8I", chromaticities))
        if len(chromaticities) == 32
        else None,
    )
    return colours, found.get(b"eXIf", b"")


def _chunks(data: bytes, *, contents: bool = True) -> Iterator[Chunk]:
    start = len(SIGNATURE)
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        yield kind, data[start + 8 : end - 4] if contents and kind != b"IDAT" else b"", start, min(end, len(data))
        if kind == b"IEND":
            return
        start = end


def _profile(body: bytes) -> bytes | None:
    name_end = body.find(b"\0")
    if name_end < 0 or body[name_end + 1 : name_end + 2] != b"\0":
        return None
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(body[name_end + 2 :], MOST_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if unpacking.eof else None

"""The main picture of a HEIC or AVIF file: its size and colours, by the file's boxes, before a pixel is decoded.

ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties). What is stored more than once (a burst, a thumbnail, a
depth map, a gain map) is another item; the primary item is the picture.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

AVIF_BRANDS = {b"avif", b"avis", b"avio"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
OTHER_BRANDS = {b"crx ": "a Canon RAW file", b"jp2 ": "JPEG 2000", b"jpx ": "JPEG 2000", b"jxl ": "JPEG XL"}
META_SKIP = 4  # a full box: version and flags

Box = tuple[bytes, bytes]


class NotHeifError(Exception):
    """The boxes are broken, or name no main picture."""


@dataclass(frozen=True)
class Heif:
    """What the boxes say of the primary item; size as stored, before it is turned."""

    width: int
    height: int
    icc_profile: bytes | None
    cicp: tuple[int, int] | None  # colour primaries and transfer characteristics, ITU-T H.273
    item_type: bytes


def brands(data: bytes) -> set[bytes]:
    """Of a file that begins with `ftyp`: the kinds that it says it is of."""
    (length,) = struct.unpack_from(">I", data)
    end = min(length, len(data), 1024)
    return {data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))}


def main_picture(data: bytes) -> Heif:
    """Raises NotHeifError."""
    try:
        return _main_picture(data)
    except (struct.error, IndexError, KeyError, StopIteration) as error:
        raise NotHeifError from error


def has_items(data: bytes) -> bool:
    """Whether there are pictures next to a sequence's."""
    return any(kind == b"meta" for kind, _ in _boxes(data))


def ends_early(data: bytes) -> bool:
    """Whether a box claims more bytes than there are."""
    start = 0
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        if length == 1 and start + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start + 8)
        if length < 8:
            return False
        start += length
    return start > len(data)


def _main_picture(data: bytes) -> Heif:
    meta = dict(reversed(list(_boxes(dict(_boxes(data))[b"meta"][META_SKIP:]))))  # the first of each kind
    primary = meta[b"pitm"]
    (item,) = struct.unpack_from(">I" if primary[0] else ">H", primary, 4)
    parts = dict(_boxes(meta[b"iprp"]))
    properties = list(_boxes(parts[b"ipco"]))
    own = [properties[index - 1] for index in _associated(parts[b"ipma"], item) if 0 < index <= len(properties)]
    width, height = struct.unpack_from(">II", next(body for kind, body in own if kind == b"ispe"), 4)
    clean = next((struct.unpack_from(">4I", body) for kind, body in own if kind == b"clap"), None)
    if clean is not None and clean[1] and clean[3]:  # what the codec's blocks add is cut off
        width, height = min(width, clean[0] // clean[1]), min(height, clean[2] // clean[3])
    colours = [body for kind, body in own if kind == b"colr"]
    icc = next((body[4:] for body in colours if body[:4] in {b"prof", b"rICC"}), None)
    nclx = next((struct.unpack_from(">HH", body, 4) for body in colours if body[:4] == b"nclx"), None)
    return Heif(width, height, icc, nclx, _type_of(meta.get(b"iinf", b""), item))


def _boxes(data: bytes) -> Iterator[Box]:
    start = 0
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        end = len(data) if length == 0 else start + length
        if length and length < head:
            return
        yield kind, data[start + head : end]
        start = end


def _associated(ipma: bytes, wanted: int) -> list[int]:
    version, wide = ipma[0], ipma[3] & 1
    (count,) = struct.unpack_from(">I", ipma, 4)
    start = 8
    for _ in range(count):
        (item,) = struct.unpack_from(">I" if version else ">H", ipma, start)
        start += 4 if version else 2
        number = ipma[start]
        start += 1
        form = f">{number}{'H' if wide else 'B'}"
        found = struct.unpack_from(form, ipma, start)
        start += struct.calcsize(form)
        if item == wanted:
            return [index & (0x7FFF if wide else 0x7F) for index in found]
    return []


def _type_of(iinf: bytes, wanted: int) -> bytes:
    if len(iinf) < 8:
        return b""
    for kind, body in _boxes(iinf[8 if iinf[0] else 6 :]):
        if kind == b"infe" and body[0] >= 2:
            (item,) = struct.unpack_from(">H" if body[0] == 2 else ">I", body, 4)
            start = 8 if body[0] == 2 else 10
            if item == wanted:
                return body[start : start + 4]
    return b""

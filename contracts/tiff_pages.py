"""The pages of a TIFF file, and which of them is the picture: chosen by what their tags say, before a pixel is read.

A page is an image file directory (IFD): of the main chain, or a sub-directory of one there (SubIFDs), where cameras and
DNG keep the full picture after a preview. TIFF 6.0, its Adobe supplements, BigTIFF, and DNG 1.7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_PAGES = 10_000
MOST_DEPTH = 4
PREVIEW = 2  # a page without a flag is taken for a preview of another with so many times its pixels
(
    NEW_SUBFILE, SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES,
    ROWS_PER_STRIP, STRIP_COUNTS, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS,
    SUB_IFDS, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING, ICC_PROFILE,
) = NUMBERS = (
    254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 332, 338, 339,
    347, 530, 34675,
)  # fmt: skip
T4_OPTIONS, T6_OPTIONS, OLD_JPEG = 292, 293, tuple(range(512, 522))
READ = frozenset((*NUMBERS, T4_OPTIONS, T6_OPTIONS, *OLD_JPEG))
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
UNCOMPRESSED, LZW, JPEG, OLD_STYLE_JPEG = 1, 5, 7, 6
LOSSLESS = {1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
CCITT = (2, 3, 4)
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}  # samples of a pixel, without its extra ones, by photometric
RAW = {32803: "the raw mosaic of a sensor", 34892: "linear raw data of a sensor"}
UINT, INT, FLOAT, UNDEFINED = 1, 2, 3, 4
DEPTHS = {UINT: (*range(1, 17), 32, 64), INT: (8, 16, 32), FLOAT: (16, 32, 64)}


class NotTiffError(Exception):
    """The directories are broken, or there are none."""


@dataclass(frozen=True)
class Page:
    """One directory: its tags' numbers, in the file's byte order (`<` or `>`)."""

    order: str
    tags: Mapping[int, Sequence[int]] = field(repr=False)

    def number(self, tag: int, default: int) -> int:
        """A tag's first number."""
        return next(iter(self.tags.get(tag, ())), default)

    @property
    def width(self) -> int:
        """Pixels a row."""
        return self.number(WIDTH, 0)

    @property
    def height(self) -> int:
        """Rows."""
        return self.number(HEIGHT, 0)

    @property
    def samples(self) -> int:
        """Samples of a pixel, extra ones included."""
        return self.number(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Of a sample; 0 where they differ."""
        bits = set(self.tags.get(BITS, (1,))[: self.samples])
        return bits.pop() if len(bits) == 1 else 0

    @property
    def kind(self) -> int:
        """UINT, INT or FLOAT; 0 for anything else."""
        kinds = set(self.tags.get(SAMPLE_FORMAT, (UINT,))[: self.samples])
        kind = kinds.pop() if len(kinds) == 1 else 0
        return UINT if kind == UNDEFINED else kind if kind in {UINT, INT, FLOAT} else 0

    @property
    def photometric(self) -> int:
        """What the samples mean. WhiteIsZero where a page does not say, as in libtiff."""
        return self.number(PHOTOMETRIC, 6 if self.compression == OLD_STYLE_JPEG else 0)

    @property
    def compression(self) -> int:
        """1 is none."""
        return self.number(COMPRESSION, UNCOMPRESSED)

    def unsupported(self) -> str:
        """Why the page's pixels are not read, as the end of a sentence; empty where they are."""
        if self.photometric in RAW:
            return f"holds {RAW[self.photometric]} (a camera's RAW file), which has to be developed first"
        if self.photometric not in COLOURS:
            return f"has colours of a kind that is not read (photometric interpretation {self.photometric})"
        return self._odd_compression() or ("" if self._is_whole() else self._odd_samples() or self._odd_colours())

    def _is_whole(self) -> bool:
        """Whether a codec makes whole pixels of it: JPEG and fax."""
        return self.compression in {JPEG, OLD_STYLE_JPEG, *CCITT}

    def _odd_compression(self) -> str:
        if self.compression in CCITT:
            return "" if self.bits == 1 and self.samples == 1 else "has fax compression and more than one bit a pixel"
        if self.compression in {JPEG, OLD_STYLE_JPEG}:
            return "" if self.bits == 8 and self.photometric != 3 else "has JPEG compression of other than 8 bits"
        return "" if self.compression in LOSSLESS else f"has a compression that is not read ({self.compression})"

    def _odd_samples(self) -> str:
        if self.samples < COLOURS[self.photometric]:
            return "has fewer samples a pixel than its colours need"
        if self.bits not in DEPTHS.get(self.kind, ()):
            return f"has samples of a kind that is not read ({self.bits} bits, format {self.kind})"
        return ""

    def _odd_colours(self) -> str:
        lab, palette, ycc = self.photometric in {8, 9}, self.photometric == 3, self.photometric == 6
        if (ycc and (self.bits != 8 or self.samples != 3)) or (lab and self.bits not in {8, 16}):
            return f"has {'YCbCr' if ycc else 'Lab'} colours of {self.bits} bits"
        if palette and (self.kind != UINT or self.bits > 16):
            return "has a palette and samples that are not indices into it"
        if self.photometric == 5 and self.number(INK_SET, 1) != 1:
            return "has inks other than CMYK"
        if self.number(PREDICTOR, 1) not in {1, 2, 3}:
            return "has a predictor that is not read"
        if ycc and self.number(PLANAR, 1) == 2:
            return "has YCbCr colours in separate planes"
        return ""


def picture_of(data: bytes) -> Page:
    """The page that is the picture: the first one that is no preview, mask or depth map. Raises NotTiffError.

    Where the first page does not say that it is a preview and another has at least twice its pixels, it is that one. What
    a sub-directory leaves out (which way is up, the colour profile), its file's first page says.
    """
    pages = [page for page in _pages(data) if page.width > 0 and page.height > 0]
    pictures = [page for page in pages if not page.number(NEW_SUBFILE, 0) & (4 | 8)]  # no masks, no depth maps
    full = [page for page in pictures if not (page.number(NEW_SUBFILE, 0) & 1 or page.number(SUBFILE, 1) == 2)]
    found = full or pictures or pages
    if not found:
        raise NotTiffError
    largest = max(found, key=lambda page: page.width * page.height)
    chosen = found[0]
    if largest.width * largest.height >= PREVIEW * chosen.width * chosen.height:
        chosen = largest
    general = {tag: pages[0].tags[tag] for tag in (ORIENTATION, ICC_PROFILE) if tag in pages[0].tags}
    return Page(chosen.order, {**general, **chosen.tags}) if chosen is not pages[0] else chosen


def ends_early(data: bytes) -> bool:
    """Whether the first directory would begin after the file's end: many writers put it there."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "<")
    try:
        big = struct.unpack_from(order + "H", data, 2) == (43,)
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    except struct.error:
        return True
    return bool(start + 2 > len(data))


def _pages(data: bytes) -> Iterator[Page]:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise NotTiffError
    try:
        (version,) = struct.unpack_from(order + "H", data, 2)
        big = version == 43
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    except struct.error as error:
        raise NotTiffError from error
    seen: set[int] = set()
    chains = [(start, 0)]
    while chains:  # a page's sub-directories come right after it
        offset, depth = chains.pop()
        if not offset or offset in seen or len(seen) >= MOST_PAGES:
            continue
        seen.add(offset)
        try:
            tags, following = _directory(data, offset, order, big=big)
        except (struct.error, OverflowError) as error:
            if len(seen) == 1:
                raise NotTiffError from error
            continue  # a broken link after the picture spoils nothing
        yield Page(order, tags)
        chains.append((following, depth))
        if depth < MOST_DEPTH:
            chains += [(sub, depth + 1) for sub in reversed(tags.get(SUB_IFDS, ()))]


def _directory(data: bytes, offset: int, order: str, *, big: bool) -> tuple[dict[int, Sequence[int]], int]:
    count_form, entry_form, inline = ("Q", "HHQ8s", 8) if big else ("H", "HHI4s", 4)
    (count,) = struct.unpack_from(order + count_form, data, offset)
    offset += struct.calcsize(order + count_form)
    size = struct.calcsize(order + entry_form)
    tags: dict[int, Sequence[int]] = {}
    if count * size > len(data):
        raise struct.error("more entries than bytes")
    for position in range(offset, offset + count * size, size):
        tag, kind, number, value = struct.unpack_from(order + entry_form, data, position)
        if tag not in READ or kind not in TYPES or tag in tags:
            continue
        form = f"{order}{number}{TYPES[kind]}"
        length = number * struct.calcsize(order + TYPES[kind])
        if length > len(data):
            continue
        start = 0 if length <= inline else struct.unpack(order + ("Q" if big else "I"), value)[0]
        source = value if length <= inline else data
        if start + length <= len(source):  # what points nowhere is as if it were not there
            tags[tag] = (
                source[start : start + length] if TYPES[kind] == "B" else struct.unpack_from(form, source, start)
            )
    end = offset + count * size
    following = 0
    if end + (8 if big else 4) <= len(data):
        (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, end)
    return tags, following

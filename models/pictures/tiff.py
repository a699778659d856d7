"""The pixels of a TIFF page: samples of any depth, sense, order and arrangement as 8 bits, by what the tags say.

Pillow reads only some combinations of these, and some of them wrongly (16-bit WhiteIsZero as a negative), so only its
decompressors are used: for LZW and the like on bytes without a meaning, for JPEG and fax on a page without its metadata.
What is made of samples: unsigned ones of up to 16 bits are scaled from their full range. Others have no fixed range and
are stretched, darkest to brightest; float samples within 0 and 1 are fractions of white. TIFF 6.0 and its supplements.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin

from contracts import tiff_pages as tags
from models.errors import ImageError
from models.pictures.colour import lab_to_srgb
from models.pictures.pillow_limit import without_pillows_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from contracts.tiff_pages import Page

BAND_SAMPLES = 4_000_000  # turned into pixels at a time
MOST_SAMPLES = 64  # of a pixel
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
ALPHA = {1: "associated", 2: "unassociated", 999: "unassociated"}  # the last by Corel Draw
DEFAULTS = {tags.ROWS_PER_STRIP: 2**32 - 1}


def truncated() -> ImageError:
    """A page's data end before its pixels do."""
    return ImageError("The picture ends too early; it was not sent or stored whole.", "image_truncated")


def by_pillow(data: bytes, page: Page) -> Image.Image | None:
    """The page opened by Pillow, for JPEG and fax compression; None for the others, whose samples are read here."""
    if page.compression not in {tags.JPEG, tags.OLD_STYLE_JPEG, *tags.CCITT}:
        return None
    unwanted = {tags.NEW_SUBFILE, tags.SUBFILE, tags.SUB_IFDS, tags.ORIENTATION, tags.ICC_PROFILE}
    kept = {tag: values for tag, values in page.tags.items() if tag not in unwanted}
    return _opened(_with_directory(data, kept, page.order))


def bands(data: bytes, page: Page) -> Iterator[tuple[int, Image.Image]]:
    """The page's rows from the top as (first row, picture of mode L, RGB, RGBA, RGBa or CMYK). Raises ImageError."""
    layout = Layout.of(data, page)
    low, high = layout.value_range()
    for top, samples in layout.rows():
        yield top, _picture(samples, layout, low, high)


@dataclass(frozen=True)
class Layout:
    """How a page's samples lie in its file. A strip is a tile as wide as the page."""

    data: bytes
    page: Page
    width: int
    height: int
    across: int  # tiles
    tile_width: int
    tile_height: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    colours: int
    used: tuple[int, ...]  # samples of a pixel that are wanted: its colours, then its alpha
    alpha: str  # "", "associated" or "unassociated"

    @classmethod
    def of(cls, data: bytes, page: Page) -> Layout:
        """Raises ImageError."""
        tiled = tags.TILE_OFFSETS in page.tags
        width, height = page.width, page.height
        tile_width = page.number(tags.TILE_WIDTH, 0) if tiled else width
        rows = page.number(tags.TILE_HEIGHT if tiled else tags.ROWS_PER_STRIP, 0 if tiled else height)
        tile_height = rows if tiled else min(rows, height)
        if not (tile_width and tile_height) or page.samples > MOST_SAMPLES:
            raise ImageError("The picture's header is broken.", "image_unreadable")
        if tile_width * tile_height > 4 * max(width, 256) * max(height, 256):
            raise ImageError("The picture's tiles are larger than the picture.", "image_unreadable")
        across, down = -(-width // tile_width), -(-height // tile_height)
        planes = page.samples if page.number(tags.PLANAR, 1) == 2 else 1
        offsets = tuple(page.tags.get(tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS, ()))
        counts = tuple(page.tags.get(tags.TILE_COUNTS if tiled else tags.STRIP_COUNTS, ()))
        if page.compression == tags.UNCOMPRESSED:  # what a page leaves out or gives wrongly follows from its size
            counts = (len(data),) * len(offsets)
        if len(offsets) < across * down * planes or len(counts) < across * down * planes:
            raise ImageError("The picture's header is broken.", "image_unreadable")
        colours = tags.COLOURS[page.photometric]
        extras = page.tags.get(tags.EXTRA_SAMPLES, (2,) if (page.photometric, page.samples) == (2, 4) else ())
        first = page.samples - len(extras)
        of_alpha = next((i for i, kind in enumerate(extras) if kind in ALPHA and first + i >= colours), None)
        alpha = "" if of_alpha is None or page.photometric in {5, 8, 9} else ALPHA[extras[of_alpha]]
        used = (*range(colours), *((first + of_alpha,) if alpha and of_alpha is not None else ()))
        return cls(data, page, width, height, across, tile_width, tile_height, offsets, counts, colours, used, alpha)

    @property
    def subsampling(self) -> tuple[int, int]:
        """How many pixels share their chroma, across and down."""
        if self.page.photometric != 6:
            return 1, 1
        declared = tuple(self.page.tags.get(tags.SUBSAMPLING, (2, 2)))[:2]
        if len(declared) != 2 or not set(declared) <= {1, 2, 4}:
            raise ImageError("The picture's header is broken.", "image_unreadable")
        return declared[0], declared[1]

    @property
    def planes(self) -> tuple[int, ...]:
        """The planes to read: those of the wanted samples, or the only one."""
        return self.used if self.page.number(tags.PLANAR, 1) == 2 else (0,)

    def value_range(self) -> tuple[float, float]:
        """Of the colours, where the samples have none of their own; otherwise (0, 0). Reads the page once, if it must."""
        if self.page.kind == tags.UINT and self.page.bits <= 16:
            return 0.0, 0.0
        low, high = np.inf, -np.inf
        for _, samples in self.rows():
            finite = samples[..., : self.colours]
            if self.page.kind == tags.FLOAT:
                finite = finite[np.isfinite(finite)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        if low > high:
            raise ImageError("The picture holds values that are NaN or infinite.", "image_unreadable")
        return (0.0, 1.0) if self.page.kind == tags.FLOAT and low >= 0 and high <= 1 else (low, high)

    def rows(self) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """(first row, samples (rows, width, wanted samples)), from the top."""
        down = -(-self.height // self.tile_height)
        for row in range(down):
            top = row * self.tile_height
            # A strip's last rows may not be there; a tile is always whole.
            stored = (
                self.tile_height if tags.TILE_OFFSETS in self.page.tags else min(self.tile_height, self.height - top)
            )
            units = -(-stored // self.subsampling[1])
            tiles = [
                [self._bytes((plane * down + row) * self.across + column, units) for column in range(self.across)]
                for plane in self.planes
            ]
            at_once = max(1, BAND_SAMPLES // max(1, self.width * len(self.used) * self.subsampling[1]))
            for start in range(0, units, at_once):
                some = [[self._samples(tile[start : start + at_once]) for tile in plane] for plane in tiles]
                joined = np.concatenate([np.concatenate(plane, axis=1)[:, : self.width] for plane in some], axis=2)
                if len(self.planes) == 1 and joined.shape[2] != len(self.used):
                    joined = joined[:, :, list(self.used)]
                first = top + start * self.subsampling[1]
                if first < self.height:
                    yield first, joined[: self.height - first]

    def _bytes(self, index: int, rows: int) -> NDArray[np.uint8]:
        """One tile's (rows, bytes a row), decompressed."""
        across, down = self.subsampling
        planar = self.page.number(tags.PLANAR, 1) == 2
        if self.page.photometric == 6:
            row_bytes = -(-self.tile_width // across) * (across * down + 2)
        else:
            row_bytes = (self.tile_width * (1 if planar else self.page.samples) * self.page.bits + 7) // 8
        wanted = rows * row_bytes
        count = min(self.counts[index], wanted) if self.page.compression == tags.UNCOMPRESSED else self.counts[index]
        chunk = self.data[self.offsets[index] : self.offsets[index] + count]
        if self.page.number(tags.FILL_ORDER, 1) == 2:
            chunk = chunk.translate(REVERSED)
        chunk_bytes = _decompressed(chunk, self.page.compression, row_bytes, rows)
        if len(chunk_bytes) < wanted:
            raise truncated()
        return np.frombuffer(chunk_bytes, np.uint8, wanted).reshape(rows, row_bytes)

    def _samples(self, rows: NDArray[np.uint8]) -> NDArray[np.generic]:
        """(rows, bytes a row) -> (rows, tile width, samples)."""
        if self.page.photometric == 6:
            return self._from_ycc(rows)
        number = 1 if self.page.number(tags.PLANAR, 1) == 2 else self.page.samples
        bits, predictor = self.page.bits, self.page.number(tags.PREDICTOR, 1)
        flat: NDArray[np.generic]
        if predictor == 3 and self.page.kind == tags.FLOAT:
            summed = np.cumsum(rows.reshape(len(rows), -1, number), axis=1, dtype=np.uint8)
            planes = summed.reshape(len(rows), bits // 8, -1)  # all the highest bytes first
            flat = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{bits // 8}")[..., 0]
            return flat.reshape(len(rows), self.tile_width, number)
        if bits in {8, 16, 32, 64}:
            letter = {tags.UINT: "u", tags.INT: "i", tags.FLOAT: "f"}[self.page.kind]
            stored = rows.view(f"{self.page.order}{letter if predictor != 2 or letter != 'f' else 'u'}{bits // 8}")
            flat = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        else:
            flat = _unpacked(rows, bits)[:, : self.tile_width * number]
        samples = flat.reshape(len(rows), self.tile_width, number)
        if predictor == 2:
            samples = np.cumsum(samples, axis=1, dtype=samples.dtype)
            if self.page.kind == tags.FLOAT:
                samples = samples.view(f"f{bits // 8}")
        return samples

    def _from_ycc(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        across, down = self.subsampling
        blocks = rows.reshape(len(rows), -1, across * down + 2)
        luma = blocks[..., :-2].reshape(len(rows), -1, down, across).transpose(0, 2, 1, 3)
        lines = luma.reshape(len(rows) * down, -1)
        chroma = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
        ycc = np.concatenate([lines[..., None], chroma], axis=2)[:, : self.tile_width]
        return np.asarray(Image.fromarray(np.ascontiguousarray(ycc), "YCbCr").convert("RGB"))


def _picture(samples: NDArray[np.generic], layout: Layout, low: float, high: float) -> Image.Image:
    page = layout.page
    colours, alpha = samples[..., : layout.colours], samples[..., layout.colours :]
    if page.photometric in {8, 9}:
        return Image.fromarray(lab_to_srgb(_lab(colours, page)))
    if page.photometric == 3:
        levels = _palette(page)[np.minimum(colours[..., 0], (1 << page.bits) - 1)]
    else:
        levels = _levels(colours, page, low, high)
        if page.photometric == 0:
            levels = 255 - levels
    if page.photometric == 5:
        return Image.frombytes("CMYK", (levels.shape[1], levels.shape[0]), np.ascontiguousarray(levels).tobytes())
    if not layout.alpha:
        return Image.fromarray(np.ascontiguousarray(levels[..., 0] if levels.shape[2] == 1 else levels))
    if page.kind == tags.UINT:
        opacity = _levels(alpha, page, 0, float(2**page.bits - 1))
    else:
        opacity = _levels(alpha, page, 0, 1.0 if page.kind == tags.FLOAT else float(2 ** (page.bits - 1) - 1))
    rgb = np.broadcast_to(levels, (*levels.shape[:2], 3))
    four = np.ascontiguousarray(np.concatenate([rgb, opacity], axis=2))
    return Image.frombuffer(
        "RGBa" if layout.alpha == "associated" else "RGBA", (four.shape[1], four.shape[0]), four.tobytes()
    )


def _levels(samples: NDArray[np.generic], page: Page, low: float, high: float) -> NDArray[np.uint8]:
    """Samples as 0 .. 255: of their full range, or from `low` to `high`."""
    if page.kind == tags.UINT and page.bits == 8:
        return np.asarray(samples, np.uint8)
    if page.kind == tags.UINT and page.bits <= 16:
        most = (1 << page.bits) - 1
        table = ((np.arange(most + 1, dtype=np.uint32) * 510 + most) // (2 * most)).astype(np.uint8)
        return np.asarray(table[samples.astype(np.uint16)])
    scaled = (samples.astype(np.float64) - low) / max(high - low, 1e-12)
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 1) * 255).astype(np.uint8)


def _palette(page: Page) -> NDArray[np.uint8]:
    colours = np.array(page.tags.get(tags.COLOUR_MAP, ()), np.uint32)
    if colours.size != 3 << page.bits:
        raise ImageError("The picture's palette is broken.", "image_unreadable")
    return (colours if colours.max() < 256 else colours >> 8).reshape(3, -1).T.astype(np.uint8)


def _lab(samples: NDArray[np.generic], page: Page) -> NDArray[np.float32]:
    """CIELab has signed a and b, ICCLab has them moved up by half their range."""
    top = (1 << page.bits) - 1
    half, unit = 1 << (page.bits - 1), 1 << (page.bits - 8)
    stored = samples.astype(np.int64) & top
    ab = stored[..., 1:] - half if page.photometric == 9 else stored[..., 1:] - 2 * half * (stored[..., 1:] >= half)
    return np.concatenate([stored[..., :1] * (100 / top), ab / unit], axis=2).astype(np.float32)


def _unpacked(rows: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """(rows, bytes) -> (rows, numbers of so many bits each), the highest bit first."""
    single = np.unpackbits(rows, axis=1)
    number = single.shape[1] // bits
    values = np.zeros((len(rows), number), np.uint16)
    for bit in range(bits):
        values = (values << 1) | single[:, bit : number * bits : bits]
    return values


def _decompressed(chunk: bytes, compression: int, row_bytes: int, rows: int) -> bytes:
    """At most rows * row_bytes of it."""
    wanted = row_bytes * rows
    if compression == tags.UNCOMPRESSED:
        return chunk
    try:
        if compression in {8, 32946}:
            return zlib.decompressobj().decompress(chunk, wanted)
        if compression == 34925:
            return lzma.LZMADecompressor(memlimit=256 * 1024 * 1024).decompress(chunk, wanted)
    except (zlib.error, lzma.LZMAError) as error:
        raise ImageError("The picture's data are broken.", "image_unreadable") from error
    if not chunk:
        raise truncated()
    # As a grey picture of a byte a pixel: libtiff gives the bytes back as they are.
    grey = {
        tags.WIDTH: (row_bytes,), tags.HEIGHT: (rows,), tags.BITS: (8,), tags.COMPRESSION: (compression,),
        tags.PHOTOMETRIC: (1,), tags.SAMPLES: (1,), tags.ROWS_PER_STRIP: (rows,), tags.STRIP_OFFSETS: (8,),
        tags.STRIP_COUNTS: (len(chunk),),
    }  # fmt: skip
    with without_pillows_limit(), _opened(_with_directory(bytes(8) + chunk, grey, "<")) as image:
        try:
            return image.tobytes()
        except OSError as error:
            if "decoder" in str(error) and "not available" in str(error):
                raise ImageError(
                    "The picture has a compression that is not read.", "image_format_unsupported"
                ) from error
            raise ImageError("The picture's data are broken, or end too early.", "image_unreadable") from error


def _opened(tiff: bytes) -> Image.Image:
    return TiffImagePlugin.TiffImageFile(io.BytesIO(tiff))


def _with_directory(data: bytes, wanted: Mapping[int, Sequence[int]], order: str) -> bytes:
    """`data` as a plain TIFF with one page that has these tags alone: its directory is put at the end."""
    start = len(data) + len(data) % 2
    room = start + 2 + 12 * len(wanted) + 4
    entries, values = b"", b""
    for tag in sorted(wanted):
        raw = tag in {tags.JPEG_TABLES}
        packed = bytes(wanted[tag]) if raw else struct.pack(f"{order}{len(wanted[tag])}I", *wanted[tag])
        count = len(wanted[tag])
        short = all(value < 65536 for value in wanted[tag]) and not raw
        if short:
            packed = struct.pack(f"{order}{count}H", *wanted[tag])
        if len(packed) > 4:
            where = room + len(values)
            values += packed + bytes(len(packed) % 2)
            packed = struct.pack(order + "I", where)
        entries += struct.pack(order + "HHI", tag, 7 if raw else 3 if short else 4, count) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    directory = struct.pack(order + "H", len(wanted)) + entries + bytes(4)
    return b"".join([head, memoryview(data)[8:], bytes(start - len(data)), directory, values])

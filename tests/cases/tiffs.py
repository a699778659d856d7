"""TIFF files by the byte, of any layout: what other writers make and no library here writes."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def packed(samples: NDArray[np.generic], bits: int, order: str) -> bytes:
    """(rows, values) as a TIFF's bytes: rows begin at whole bytes."""
    if bits in {8, 16, 32, 64}:
        return samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    values = samples.astype(np.uint64)[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64) & np.uint64(1)
    return np.packbits(values.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def page_tags(
    samples: NDArray[np.generic], bits: int, photometric: int, *, planar: int = 1, extra: Sequence[int] = ()
) -> dict[int, Sequence[int]]:
    """Of an (H, W, S) array in one strip, or one a plane; without the offsets."""
    height, width, number = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    tags: dict[int, Sequence[int]] = {
        256: [width], 257: [height], 258: [bits] * number, 259: [1], 262: [photometric], 277: [number], 278: [height],
        284: [planar], 339: [kind] * number,
    }  # fmt: skip
    if extra:
        tags[338] = extra
    return tags


def strips(samples: NDArray[np.generic], bits: int, order: str, planar: int) -> list[bytes]:
    """The data of `page_tags`."""
    planes = np.moveaxis(samples, 2, 0) if planar == 2 else [samples.reshape(len(samples), -1)]
    return [packed(plane, bits, order) for plane in planes]


def tiff(
    pages: Sequence[tuple[Mapping[int, Sequence[int]], Sequence[bytes]]], order: str = "<", sub: bool = False
) -> bytes:
    """A classic TIFF; with `sub` all pages but the first are sub-directories of that one."""
    data = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    links: list[int] = []
    first_link = 4
    for position, (tags, chunks) in enumerate(pages):
        offsets = []
        for chunk in chunks:
            offsets.append(len(data))
            data += chunk + bytes(len(chunk) % 2)
        full = {**tags, 273: offsets, 279: [len(chunk) for chunk in chunks]}
        if sub and position == 0:
            full[330] = [0] * (len(pages) - 1)
        directory = len(data)
        data += struct.pack(order + "H", len(full)) + bytes(12 * len(full) + 4)
        where = first_link if not sub or position == 0 else links[position - 1]
        data[where : where + 4] = struct.pack(order + "I", directory)
        for row, (tag, values) in enumerate(sorted(full.items())):
            kind, form = (
                (7, "B") if isinstance(values, bytes) else (4, "I") if max(values) > 65535 or tag == 330 else (3, "H")
            )
            body = struct.pack(f"{order}{len(values)}{form}", *values)
            place = directory + 2 + 12 * row
            data[place : place + 8] = struct.pack(order + "HHI", tag, kind, len(values))
            if len(body) <= 4:
                data[place + 8 : place + 12] = body.ljust(4, b"\0")
                links += [place + 8] if tag == 330 else []
            else:
                data[place + 8 : place + 12] = struct.pack(order + "I", len(data))
                links += [len(data) + 4 * i for i in range(len(values))] if tag == 330 else []
                data += body + bytes(len(body) % 2)
        first_link = directory + 2 + 12 * len(full)
    return bytes(data)


def one(
    samples: NDArray[np.generic], bits: int, photometric: int, order: str = "<", planar: int = 1, **tags: Sequence[int]
) -> bytes:
    """A TIFF of one page of an (H, W, S) array; `extra` and, by number, more tags (`t317=[2]`)."""
    extra = tags.pop("extra", ())
    report = page_tags(samples, bits, photometric, planar=planar, extra=extra)
    report.update({int(name[1:]): values for name, values in tags.items()})
    return tiff([(report, strips(samples, bits, order, planar))], order)

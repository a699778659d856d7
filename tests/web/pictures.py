"""Small pictures for the tests, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(kind: str = "JPEG", width: int = 96, height: int = 64, seed: int = 0, mode: str = "RGB") -> bytes:
    """A noisy picture, encoded; another seed gives another content."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(encoded, kind)
    return encoded.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG file that says to have this size and holds one compressed row: a bomb in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1024)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

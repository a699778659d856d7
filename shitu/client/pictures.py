"""Pictures as users have them, as bytes to send: paths, bytes, open files, Pillow pictures, arrays."""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias


@dataclass(frozen=True)
class Upload:
    """A picture's bytes and the name that the service shows."""

    name: str
    data: bytes


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Picture: TypeAlias = (
        str | os.PathLike[str] | Upload | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
    )


def url_of(picture: object) -> str | None:
    """The address, if the picture is one that the service is to fetch."""
    return picture if isinstance(picture, str) and picture.startswith(("http://", "https://", "s3://")) else None


def upload_of(picture: Picture, name: str | None = None) -> Upload:
    """The bytes of `picture`. Raises OSError for a file that can't be read, ValueError and TypeError for what is no picture.

    A file's bytes are sent as they are. A Pillow picture is turned upright by its EXIF and sent as PNG (CMYK as TIFF); so is an
    array, RGB uint8 of shape (H, W, 3). An Upload stays what it is: bytes with a name of their own.
    """
    if isinstance(picture, Upload):
        return picture
    if url_of(picture) is not None:
        raise ValueError("the service fetches no picture by URL here; download it first")
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        return Upload(name or _sendable(path.name), path.read_bytes())
    if isinstance(picture, bytes | bytearray | memoryview):
        return Upload(name or "image", bytes(picture))
    report: Any = picture
    if hasattr(report, "read") and not hasattr(report, "getexif"):
        data = report.read()
        if not isinstance(data, bytes):
            raise TypeError("open the file in binary mode: open(path, 'rb')")
        own = getattr(report, "name", None)
        return Upload(name or (_sendable(Path(own).name) if isinstance(own, str) else "image"), data)
    if hasattr(report, "getexif"):
        data, ending = _of_pillow(report)
        return Upload(name or f"image{ending}", data)
    if hasattr(report, "__array_interface__"):
        return Upload(name or "image.png", _png_of_array(report))
    raise TypeError(
        f"a picture is a path, bytes, an open file, a Pillow picture or an array, not {type(picture).__name__}"
    )


def _of_pillow(image: Image.Image) -> tuple[bytes, str]:
    """A file with the same pixels and colours, and the ending of its name. Raises ValueError for what has no one meaning."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise ValueError("a Pillow picture of mode F has no one meaning: scale it to 0..255 and convert it to L or RGB")
    profile = image.info.get("icc_profile")
    kind, ending = ("TIFF", ".tif") if upright.mode == "CMYK" else ("PNG", ".png")  # PNG has no CMYK
    if kind == "PNG" and upright.mode not in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"}:
        upright, profile = upright.convert("RGB"), None  # it speaks of the colours before
    out = io.BytesIO()
    upright.save(out, kind, icc_profile=profile, **({"compress_level": 3} if kind == "PNG" else {}))
    return out.getvalue(), ending


def _png_of_array(array: Any) -> bytes:
    """A PNG of 8 bits a colour, unfiltered: no package is needed for it."""
    if str(array.dtype) != "uint8" or len(array.shape) != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(f"an array must be RGB uint8 of shape (H, W, 3), not {array.dtype} {tuple(array.shape)}")
    height, width, _ = array.shape
    raw, row = array.tobytes(), 3 * width
    lines = b"".join(b"\0" + raw[start : start + row] for start in range(0, height * row, row))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(lines, 3)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def _sendable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # a name that is no UTF-8 must not stop its picture

"""What people see of a picture that a browser cannot show, or shows in other colours: the very pixels that were embedded.

Browsers show no TIFF, and few of them HEIC; of very large files other than JPEGs the web process makes no thumbnails; what they make of a CMYK JPEG without a profile, or of a bitmap with masks of
its own, differs. Of all other formats they show the file itself, upright and in its colours.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from contracts.pictures import LARGE_PIXELS, PictureRefusedError, jpeg_components, look

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUALITY = 90
LONGEST_PX = 65_500  # of a JPEG


def needs_preview(data: bytes) -> bool:
    """Whether a browser is to be given `preview_of` the pixels instead of the file."""
    try:
        seen = look(data)
    except PictureRefusedError:
        return False
    if seen.format == "JPEG":
        return jpeg_components(data) == 4
    return seen.format in {"HEIF", "TIFF", "BMP"} or seen.width * seen.height > LARGE_PIXELS


def preview_of(image: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG of the same size, so that boxes lie where they lie in the picture."""
    picture = Image.fromarray(image)
    picture.thumbnail((LONGEST_PX, LONGEST_PX))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()

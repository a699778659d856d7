"""Pillow's own limit of a picture's size, out of the way while a picture is opened and decoded whose size was checked before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

_guard = threading.Lock()
_limit: list[int | None] = []  # Pillow's own, while it is lifted; once for each thread that has it lifted


@contextmanager
def without_pillows_limit() -> Iterator[None]:
    """The caller's limit decides, and was checked: Pillow's own would overrule it from 179 megapixels on."""
    with _guard:
        _limit.append(Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _guard:
            if len(_limit) == 1:
                Image.MAX_IMAGE_PIXELS = _limit[0]
                _limit.clear()
            else:
                _limit.pop()

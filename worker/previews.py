"""Keeps a rendering of the pictures that browsers cannot show, next to them. No job fails for want of one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from infra.objects.store import preview_key
from models.pictures.preview import needs_preview, preview_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from infra.objects.store import ObjectStore

log = logging.getLogger(__name__)


def keep_preview(objects: ObjectStore, key: str, image_bytes: bytes, image: NDArray[np.uint8]) -> None:
    """Stores what `image`, decoded of `image_bytes`, looks like, if a browser is to see that instead of the object `key`."""
    if not needs_preview(image_bytes):
        return
    try:
        if not objects.exists(preview_key(key)):
            objects.put(preview_key(key), preview_of(image))
    except Exception:  # a full disk, or a picture too odd for a JPEG: the answer matters more
        log.warning("no preview kept", extra={"key": key}, exc_info=True)

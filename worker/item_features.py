"""The local features of gallery items, read from the galleries' files when a photo first asks for them.

Items enrolled before features were kept, and those of galleries too large to hold, have them made from their pictures.
What was read or made stays in memory up to a limit in bytes; what was used longest ago goes first.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from infra.errors.galleries import GalleryCorrupt
from infra.errors.photos import ObjectNotFound
from infra.galleries.keys import FEATURES
from models.enrolment import packed_features
from models.errors import ModelError
from models.galleries.items import CompactItems
from models.pictures.image import crop, decode
from models.verification import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.galleries.files import Segment
    from infra.galleries.store import GalleryManifest, GalleryStore, Item
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import ImageSettings
    from models.verification import Features

MOST_BYTES = 8192  # of one item's packed features
ENTRY_BYTES = 200  # an id, a bytes object and their place in a dict
NONE = b""

log = logging.getLogger(__name__)


class ItemFeatures:
    """Packed features by item, of all galleries together at most `limit_bytes`; may be used by many threads."""

    def __init__(self, store: GalleryStore, objects: ObjectStore, images: ImageSettings, limit_bytes: int) -> None:
        self._store, self._objects, self._images = store, objects, images
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[str, dict[str, bytes]] = OrderedDict()  # by segment, or by one item's id
        self._sizes: dict[str, int] = {}
        self._guard = threading.Lock()
        self._reading = threading.Lock()  # a segment is read by one thread, the others wait for it

    @property
    def size_bytes(self) -> int:
        """About how many bytes are held."""
        with self._guard:
            return sum(self._sizes.values())

    def stored(self, manifest: GalleryManifest, segment: Segment) -> dict[str, bytes]:
        """What a segment's file says, by item. A file that is gone or damaged costs the evidence, not the answer."""
        key = f"{manifest.name}/{manifest.generation}/{segment.id}"
        if (found := self._get(key)) is not None:
            return found
        with self._reading:
            if (found := self._get(key)) is not None:
                return found
            try:
                read = self._store.segment_features(manifest, segment)
            except ObjectNotFound:
                return {}  # the version was removed meanwhile
            except GalleryCorrupt as error:
                log.warning(
                    "features are made from pictures instead", extra={"gallery": manifest.name, "why": error.detail}
                )
                read = {}
            self._keep(key, read)
            return read

    def made(self, item: Item) -> bytes:
        """From the item's picture; empty where there is none any more, or it does not decode."""
        if (found := self._get(item.id)) is not None:
            return found[item.id]
        try:
            image = decode(
                self._objects.get(item.image_key),
                max_pixels=self._images.max_pixels,
                min_side_px=self._images.min_side_px,
            )
            packed = packed_features(image if item.box is None else crop(image, item.box))
        except (ObjectNotFound, ModelError):
            packed = NONE  # as in a gallery imported without pictures; remembered too
        self._keep(item.id, {item.id: packed})
        return packed

    def fits(self, items: int) -> bool:
        """Whether a gallery with so many items may be held whole: it takes half of the limit at most, others want room."""
        return 2 * items * (MOST_BYTES + ENTRY_BYTES) <= self._limit_bytes

    def _get(self, key: str) -> dict[str, bytes] | None:
        with self._guard:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def _keep(self, key: str, features: dict[str, bytes]) -> None:
        with self._guard:
            self._held[key] = features
            self._held.move_to_end(key)
            self._sizes[key] = ENTRY_BYTES + sum(ENTRY_BYTES + len(packed) for packed in features.values())
            while len(self._held) > 1 and sum(self._sizes.values()) > self._limit_bytes:
                oldest, _ = self._held.popitem(last=False)
                del self._sizes[oldest]


class VersionFeatures:
    """The `features` of one version's Gallery: an item's id in, its local features out, None where there are none."""

    def __init__(
        self, shared: ItemFeatures, manifest: GalleryManifest, items: Sequence[Item] | Callable[[str], Item | None]
    ) -> None:
        """`items`: all of them, or what finds one by its id."""
        self._shared, self._manifest, self._items = shared, manifest, items
        self._by_id: dict[str, Item] | None = None
        # A gallery that cannot be held whole would be read again for every photo.
        stored = [segment for segment in manifest.segments if FEATURES in segment.files]
        self._segments = stored if shared.fits(sum(segment.item_count for segment in stored)) else []

    def __call__(self, item_id: str) -> Features | None:
        """Raises StorageUnavailable."""
        for segment in self._segments:
            packed = self._shared.stored(self._manifest, segment).get(item_id)
            if packed:
                return self._unpacked(item_id, packed)
        item = self._item(item_id)
        packed = NONE if item is None else self._shared.made(item)
        return self._unpacked(item_id, packed) if packed else None

    def _item(self, item_id: str) -> Item | None:
        if callable(self._items):
            return self._items(item_id)
        if isinstance(self._items, CompactItems):
            place = self._items.place_of(item_id)
            return None if place is None else self._items[place]
        if self._by_id is None:
            self._by_id = {item.id: item for item in self._items}
        return self._by_id.get(item_id)

    def _unpacked(self, item_id: str, packed: bytes) -> Features | None:
        try:
            return unpack(packed)
        except ModelError as error:  # of a later version of the format, say
            log.warning("features cannot be read", extra={"item": item_id, "why": error.detail})
            return None

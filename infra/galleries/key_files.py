"""The keys of stored segments, from their files of keys where there are such, else from the items; kept while in use."""

from __future__ import annotations

import hashlib
import logging
import mmap
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from infra.errors.photos import ObjectNotFound
from infra.galleries.item_keys import decode_keys, made_keys
from infra.galleries.keys import KEYS, extra_key
from infra.objects.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from infra.galleries.files import GalleryManifest, Item, Segment
    from infra.galleries.item_keys import ItemKeys
    from infra.objects.store import ObjectStore

KEYED_FROM = 250  # items: a smaller segment's keys are made of its items
MOST_KEPT = 64  # segments
MOST_BYTES = 64 * 1024 * 1024  # of those kept that are no file's

log = logging.getLogger(__name__)


class KeyFiles:
    """The keys of a store's segments; may be used by many threads. A local store's files are mapped."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._kept: OrderedDict[str, tuple[ItemKeys, int]] = OrderedDict()  # by the items' hash, with what it holds
        self._guard = threading.Lock()

    def of(self, manifest: GalleryManifest, segment: Segment, items: Callable[[], Iterable[Item]]) -> ItemKeys:
        """The keys of all items of a segment; `items` gives these where there is no usable file. Raises what it raises, and StorageUnavailable."""
        with self._guard:
            if (kept := self._kept.get(segment.items_sha256)) is not None:
                self._kept.move_to_end(segment.items_sha256)
                return kept[0]
        found = self._read(manifest, segment)
        size = 0 if found is not None and isinstance(self._objects, LocalStore) else -1
        if found is None:
            found = made_keys(items())
        with self._guard:
            self._kept[segment.items_sha256] = found, found.size_bytes if size < 0 else size
            while len(self._kept) > 1 and (
                len(self._kept) > MOST_KEPT or sum(held for _, held in self._kept.values()) > MOST_BYTES
            ):
                self._kept.popitem(last=False)
        return found

    def _read(self, manifest: GalleryManifest, segment: Segment) -> ItemKeys | None:
        if KEYS not in segment.files:
            return None
        key = extra_key(manifest.name, manifest.generation, segment.id, KEYS)
        try:
            data = self._mapped(key) or self._objects.get(key)
        except ObjectNotFound:
            return (
                None  # an earlier release removed it, which did not know it; or the version has gone, as its items have
            )
        return checked_keys(data, manifest, segment)

    def _mapped(self, key: str) -> mmap.mmap | None:
        if not isinstance(self._objects, LocalStore):
            return None
        try:
            return mapped_file(self._objects.folder / key)
        except (OSError, ValueError):  # gone, or empty: as reading it says
            return None


def mapped_file(path: Path) -> mmap.mmap:
    """All of a file. Raises OSError, and ValueError if it is empty."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def checked_keys(data: bytes | mmap.mmap, manifest: GalleryManifest, segment: Segment) -> ItemKeys | None:
    """The keys in a segment's file; None, and a warning, if it is not what the manifest says."""
    try:
        if hashlib.sha256(data).hexdigest() != segment.files[KEYS]:
            raise ValueError("other content than the manifest says")
        return decode_keys(data, segment.item_count)
    except ValueError as error:
        about = {"gallery": manifest.name, "segment": segment.id, "why": str(error)}
        log.warning("a damaged file of keys is not used; the items are read", extra=about)
        return None

"""Finds one item of a gallery quickly: a page of thumbnails asks for many, and a gallery's items are one long file.

A version's items never change, so what was read once is kept, for the few galleries that were used last.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from infra.errors import ItemNotFound

if TYPE_CHECKING:
    from infra.galleries.store import GalleryManifest, GalleryStore, Item

KEPT = 8


class ItemLookup:
    """Items of current versions by id; may be used by many threads."""

    def __init__(self, store: GalleryStore) -> None:
        self._store = store
        self._kept: OrderedDict[GalleryManifest, dict[str, Item]] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, name: str, item_id: str) -> Item:
        """Raises GalleryNotFound, ItemNotFound."""
        item = self._items(self._store.manifest(name)).get(item_id)
        if item is None:
            raise ItemNotFound(f"The gallery {name!r} has no item {item_id!r}.")
        return item

    def _items(self, manifest: GalleryManifest) -> dict[str, Item]:
        with self._guard:
            if manifest in self._kept:
                self._kept.move_to_end(manifest)
                return self._kept[manifest]
        items = {item.id: item for item in self._store.items(manifest.name, manifest.version)}
        with self._guard:
            self._kept[manifest] = items
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return items

"""Finds items and labels of a gallery quickly: a page of thumbnails needs many, as does a label's completion, and a gallery's items are one long file.

A version's items never change, so what was read once is kept, for the few galleries that were used last.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from contracts.names import folded
from infra.errors.galleries import ItemNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.galleries.store import GalleryManifest, GalleryStore, Item

KEPT = 8


@dataclass(frozen=True)
class Label:
    """A label of a version: what searches compare, as it is written, how many items bear it, and the first of them."""

    folded: str
    label: str
    item_count: int
    item_id: str


@dataclass(frozen=True)
class _Known:
    items: dict[str, Item]
    labels: list[Label]  # in the order of their folded forms


class ItemLookup:
    """Items of versions by id, and their labels by prefix; may be used by many threads."""

    def __init__(self, store: GalleryStore) -> None:
        self._store = store
        self._kept: OrderedDict[GalleryManifest, _Known] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, name: str, item_id: str, version: int | None = None) -> Item:
        """Of a version, the current one by default. Raises GalleryNotFound, VersionNotFound, ItemNotFound."""
        item = self._known(self._store.manifest(name, version)).items.get(item_id)
        if item is None:
            raise ItemNotFound(f"The gallery {name!r} has no item {item_id!r}.")
        return item

    def labels(self, manifest: GalleryManifest, prefix: str) -> list[Label]:
        """The labels of a version that begin with `prefix`, without regard to case, accents and Unicode form."""
        start = folded(prefix)
        known = self._known(manifest).labels
        first = bisect_left(known, start, key=lambda label: label.folded)
        return list(takewhile(lambda label: label.folded.startswith(start), known[first:]))

    def _known(self, manifest: GalleryManifest) -> _Known:
        with self._guard:
            if manifest in self._kept:
                self._kept.move_to_end(manifest)
                return self._kept[manifest]
        items = self._store.items(manifest.name, manifest.version)
        known = _Known({item.id: item for item in items}, _labels(items))
        with self._guard:
            self._kept[manifest] = known
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return known


def _labels(items: Sequence[Item]) -> list[Label]:
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for item in items:
        counts[item.label] = counts.get(item.label, 0) + 1
        first.setdefault(item.label, item.id)
    found = [Label(folded(label), label, count, first[label]) for label, count in counts.items()]
    return sorted(found, key=lambda one: (one.folded, one.label))

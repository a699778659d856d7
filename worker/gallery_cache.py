"""Keeps searchable galleries in memory, never older than the store says.

Every job asks the store which version is current (one small read); only a change costs a load. What is kept is limited
in bytes: the gallery used longest ago goes first.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.galleries.segments import SegmentFiles
from models.galleries.joined import JoinedGallery
from models.galleries.sourced_gallery import JoinedSources, SourcedGallery
from worker.gallery_parts import ITEM_LINE_BYTES, GalleryParts
from worker.item_features import VersionFeatures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contracts.indexes import BuiltKind
    from infra.galleries.files import Segment
    from infra.galleries.segments import StoredSegment
    from infra.galleries.store import GalleryManifest, GalleryStore, Item
    from models.galleries.gallery import Gallery
    from worker.item_features import ItemFeatures

LOOKED_AFTER_S = 2.0  # how often to check whether an index has been built meanwhile


@dataclass(frozen=True)
class CachedGallery:
    """A gallery ready to search, the manifest it was made from, and about how many bytes it holds."""

    manifests: tuple[GalleryManifest, ...]  # several where galleries are searched as one
    gallery: Gallery
    size_bytes: int
    awaited: tuple[tuple[Segment, BuiltKind], ...] = ()  # indexes that are not built yet
    held: tuple[StoredSegment, ...] = ()  # what the next version takes over

    @property
    def manifest(self) -> GalleryManifest:
        """Of the gallery; of several, of the first."""
        return self.manifests[0]


class GalleryCache:
    """Current galleries by name, at most `limit_bytes` together (the one in use may be larger).

    Their items' local features come from `features`, which has a limit of its own; without it there are none.
    """

    def __init__(
        self,
        store: GalleryStore,
        limit_bytes: int,
        features: ItemFeatures | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder` takes what is mapped from a bucket; of a local store the files themselves are."""
        self._store = store
        self._parts = GalleryParts(
            store, SegmentFiles(store, folder or Path(tempfile.gettempdir()) / "shitu-galleries")
        )
        self._looked: dict[str, float] = {}
        self._features = features
        self._limit_bytes = limit_bytes
        self._cached: OrderedDict[str, CachedGallery] = OrderedDict()
        self._guard = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def current(self, name: str, version: int | None = None) -> CachedGallery:
        """The gallery's current version, or another that is kept. Raises the store's GalleryNotFound, VersionNotFound."""
        key = name if version is None else f"{name} {version}"
        return self._get(key, (self._store.manifest(name, version),), lambda: self._load(name, version))

    def joined(self, several: Sequence[CachedGallery]) -> CachedGallery:
        """Galleries as one. Raises GalleryError where they are not of one embedder."""
        manifests = tuple(one.manifest for one in several)
        key = "+ " + " + ".join(manifest.name for manifest in manifests)  # no gallery's name, of a single one neither
        with self._guard:
            known = self._cached.get(key)
            parts = (
                known.gallery.galleries if known and isinstance(known.gallery, JoinedGallery | JoinedSources) else ()
            )
            if known is not None and any(a is not b.gallery for a, b in zip(parts, several, strict=False)):
                del self._cached[key]  # of one of them an index has been built meanwhile
        remote = any(isinstance(one.gallery, SourcedGallery) for one in several)
        joining = 0 if remote else ITEM_LINE_BYTES
        size_bytes = sum(one.size_bytes + joining * len(one.gallery) for one in several)
        return self._get(
            key,
            manifests,
            lambda: CachedGallery(manifests, _joined([one.gallery for one in several]), size_bytes),
        )

    def _get(
        self, key: str, manifests: tuple[GalleryManifest, ...], load: Callable[[], CachedGallery]
    ) -> CachedGallery:
        if (cached := self._hit(key, manifests)) is not None:
            return cached
        with self._guard:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # one thread loads, the others of this gallery wait for it; other galleries do not
            if (cached := self._hit(key, manifests)) is not None:
                return cached
            loaded = load()
            with self._guard:
                self._cached[key] = loaded
                self._cached.move_to_end(key)
                self._drop_oldest()
            return loaded

    @property
    def size_bytes(self) -> int:
        """About how many bytes the cached galleries hold."""
        with self._guard:
            return sum(cached.size_bytes for cached in self._cached.values())

    def _hit(self, name: str, manifests: tuple[GalleryManifest, ...]) -> CachedGallery | None:
        # Whole manifests are compared: a gallery deleted and made again counts its versions from the start.
        with self._guard:
            cached = self._cached.get(name)
            if cached is None or cached.manifests != manifests or cached.gallery.outdated:
                return None
            self._cached.move_to_end(name)
            if not cached.awaited or time.monotonic() < self._looked.get(name, 0.0) + LOOKED_AFTER_S:
                return cached
            self._looked[name] = time.monotonic()
        if not self._parts.has_come(cached.manifest, cached.awaited):
            return cached
        with self._guard:
            if self._cached.get(name) is cached:  # made again; until then it holds what that takes over
                self._cached[name] = replace(cached, manifests=())
        return None

    def _load(self, name: str, version: int | None) -> CachedGallery:
        def read(manifest: GalleryManifest) -> CachedGallery:
            loaded = self._parts.load(manifest, self._features_of if self._features is not None else None)
            return CachedGallery((manifest,), loaded.gallery, loaded.size_bytes, loaded.awaited, loaded.held)

        return self._store.reading(name, version, read)

    def _features_of(
        self, manifest: GalleryManifest, items: Sequence[Item] | Callable[[str], Item | None]
    ) -> VersionFeatures:
        if self._features is None:
            raise RuntimeError("there is nothing that gives features")
        return VersionFeatures(self._features, manifest, items)

    def _drop_oldest(self) -> None:
        while len(self._cached) > 1 and sum(c.size_bytes for c in self._cached.values()) > self._limit_bytes:
            self._cached.popitem(last=False)


def _joined(galleries: Sequence[Gallery]) -> Gallery:
    if any(isinstance(one, SourcedGallery) for one in galleries):
        return JoinedSources(galleries)
    return JoinedGallery(galleries)

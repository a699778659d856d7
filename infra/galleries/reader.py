"""Reads galleries from the object store: names, manifests, items, embeddings, views, features; always one whole version.

Files may vanish while they are read, because a writer replaced the version or deleted the gallery: then the newest
pointer is asked again.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from infra.errors.galleries import GalleryCorrupt, GalleryNotFound, VersionNotFound
from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.galleries.files import (
    GalleryManifest,
    Item,
    Pointer,
    Segment,
    check_name,
    decode_embeddings,
    decode_features,
    decode_items,
    decode_manifest,
    decode_pointer,
    decode_some_items,
    decode_views,
)
from infra.galleries.key_files import KeyFiles
from infra.galleries.keys import (
    DELETED,
    FEATURES,
    POINTERS,
    VIEWS,
    extra_key,
    manifest_key,
    parse_pointer_key,
    pointers_prefix,
    segment_keys,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from infra.galleries.item_keys import ItemKeys
    from infra.objects.store import ObjectStore

READ_ATTEMPTS = 5  # a pointer may be replaced between finding and reading it
CACHED_MANIFESTS = 256

T = TypeVar("T")


class GalleryReader:
    """All galleries of one object store, to read; may be used by many threads.

    Every method raises InvalidGalleryName, GalleryNotFound, GalleryCorrupt and StorageUnavailable where they apply.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._pointers: dict[str, Pointer] = {}  # the last one seen of each gallery
        self._manifests: dict[str, GalleryManifest] = {}  # by key; they never change
        self._keys = KeyFiles(objects)

    @property
    def objects(self) -> ObjectStore:
        """Where all of it is."""
        return self._objects

    def names(self) -> tuple[str, ...]:
        """All galleries, in ascending order."""
        newest = {name: generation for name, _, generation in map(parse_pointer_key, self._objects.list(POINTERS))}
        return tuple(sorted(name for name, generation in newest.items() if generation != DELETED))

    def manifest(self, name: str, version: int | None = None) -> GalleryManifest:
        """The version in force, or another one that is kept. Raises VersionNotFound. In steady state one listing."""
        for _ in range(READ_ATTEMPTS):
            pointer = self._pointer(name)
            try:
                return self._manifest(name, pointer, version)
            except ObjectNotFound as error:
                if self._pointer(name) == pointer:
                    raise GalleryCorrupt(f"A manifest of the gallery {name!r} is missing.") from error
        raise _restless(name)

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions that are kept, ascending."""
        return tuple(version_of(manifest_id) for manifest_id in self._pointer(name).manifests)

    def staged(self, name: str) -> frozenset[int]:
        """Those of them that never were in force: made to be looked at first, and activated later."""
        return frozenset(version_of(manifest_id) for manifest_id in self._pointer(name).staged)

    def items(self, name: str, version: int | None = None) -> tuple[Item, ...]:
        """The items in the order of their adding, without the removed ones."""
        return self._read(name, version, with_embeddings=False)[1]

    def load(
        self, name: str, version: int | None = None
    ) -> tuple[GalleryManifest, tuple[Item, ...], NDArray[np.float32]]:
        """A version's manifest, its items, and their embeddings (N, D) float32; (0, 0) if it has no dimension yet.

        Every file is checked against the manifest's hashes.
        """
        return self._read(name, version, with_embeddings=True)

    def load_views(self, name: str, version: int | None = None) -> NDArray[np.float32] | None:
        """(N, D) float32, a row for each of `items`, zeros for one without a view; None if no item has one."""
        return self._whole(name, version, self._segment_views)

    def load_features(self, name: str, version: int | None = None) -> dict[str, bytes]:
        """The packed local features of the items that have any, by the items' ids."""
        return self._whole(name, version, self._all_features)

    def segment_features(self, manifest: GalleryManifest, segment: Segment) -> dict[str, bytes]:
        """The packed features of one segment's items, by their ids. Raises ObjectNotFound if the version has gone."""
        if FEATURES not in segment.files:
            return {}
        rows = self._live_features(manifest, segment)
        items = self._live_items(manifest, segment)
        return {item.id: packed for item, packed in zip(items, rows, strict=True) if packed}

    def reading(self, name: str, version: int | None, read: Callable[[GalleryManifest], T]) -> T:
        """What `read` makes of the files of one whole version; where it raises ObjectNotFound, because the version was replaced meanwhile, it is called again."""
        return self._whole(name, version, read)

    def segment_items(self, manifest: GalleryManifest, segment: Segment) -> tuple[Item, ...]:
        """All items of a segment's file, the removed ones too. Raises ObjectNotFound if the version has gone."""
        return self._all_items(manifest, segment)

    def segment_items_at(self, manifest: GalleryManifest, segment: Segment, rows: Sequence[int]) -> tuple[Item, ...]:
        """The items at these rows of a segment's file. Raises ObjectNotFound if the version has gone."""
        key, _ = segment_keys(manifest.name, manifest.generation, segment.id)
        return decode_some_items(manifest.name, segment, self._objects.get(key), rows)

    def item_keys(self, manifest: GalleryManifest, segment: Segment) -> ItemKeys:
        """What finds the items of a segment's file, the removed ones too. Raises ObjectNotFound if the version has gone."""
        return self._keys.of(manifest, segment, lambda: self._all_items(manifest, segment))

    def _pointer(self, name: str) -> Pointer:
        pointer = self._newest_pointer(check_name(name))
        if pointer is None or pointer.generation == DELETED:
            raise not_found(name)
        return pointer

    def _newest_pointer(self, name: str) -> Pointer | None:
        for _ in range(READ_ATTEMPTS):
            keys = list(self._objects.list(pointers_prefix(name)))
            if not keys:
                return None
            _, token, generation = parse_pointer_key(keys[-1])
            if generation == DELETED:
                return Pointer(token, DELETED, "", ())
            cached = self._pointers.get(name)
            if cached is not None and (cached.token, cached.generation) == (token, generation):
                return cached
            try:
                pointer = decode_pointer(name, token, generation, self._objects.get(keys[-1]))
            except ObjectNotFound:
                continue  # a later writer has just removed it: list again
            self._pointers[name] = pointer
            return pointer
        raise _restless(name)

    def _manifest(self, name: str, pointer: Pointer, version: int | None) -> GalleryManifest:
        manifest_id = pointer.current if version is None else pointer.manifest_id(version)
        if manifest_id is None:
            raise VersionNotFound(f"The gallery {name!r} has no version {version}.")
        key = manifest_key(name, pointer.generation, manifest_id)
        manifest = self._manifests.get(key)
        if manifest is None:
            manifest = decode_manifest(name, self._objects.get(key))
            if len(self._manifests) >= CACHED_MANIFESTS:
                self._manifests.clear()
            self._manifests[key] = manifest
        return manifest

    def _read(
        self, name: str, version: int | None, *, with_embeddings: bool
    ) -> tuple[GalleryManifest, tuple[Item, ...], NDArray[np.float32]]:
        def read(manifest: GalleryManifest) -> tuple[GalleryManifest, tuple[Item, ...], NDArray[np.float32]]:
            items = self._segment_items(manifest)
            embeddings = self._segment_embeddings(manifest) if with_embeddings else np.empty((0, 0), np.float32)
            return manifest, items, embeddings

        return self._whole(name, version, read)

    def _whole(self, name: str, version: int | None, read: Callable[[GalleryManifest], T]) -> T:
        """What `read` makes of one whole version, whatever happens to it meanwhile."""
        for _ in range(READ_ATTEMPTS):
            manifest = self.manifest(name, version)
            try:
                return read(manifest)
            except ObjectNotFound as error:
                if self.manifest(name, version) == manifest:
                    raise GalleryCorrupt(f"A segment of the gallery {name!r} is missing.") from error
                # deleted, or replaced and pruned, while it was read
        raise _restless(name)

    def _segment_items(self, manifest: GalleryManifest) -> tuple[Item, ...]:
        return tuple(item for segment in manifest.segments for item in self._live_items(manifest, segment))

    def _live_items(self, manifest: GalleryManifest, segment: Segment) -> tuple[Item, ...]:
        removed = frozenset(segment.removed)
        return tuple(item for item in self._all_items(manifest, segment) if item.id not in removed)

    def _all_items(self, manifest: GalleryManifest, segment: Segment) -> tuple[Item, ...]:
        key, _ = segment_keys(manifest.name, manifest.generation, segment.id)
        return decode_items(manifest.name, segment, self._objects.get(key))

    def _segment_embeddings(self, manifest: GalleryManifest) -> NDArray[np.float32]:
        parts = [np.empty((0, manifest.dim or 0), np.float32)]
        for segment in manifest.segments:
            _, key = segment_keys(manifest.name, manifest.generation, segment.id)
            rows = decode_embeddings(manifest.name, segment, manifest.dim, self._objects.get(key))
            parts.append(rows[self._live_rows(manifest, segment)])
        return np.concatenate(parts)

    def _segment_views(self, manifest: GalleryManifest) -> NDArray[np.float32] | None:
        if not any(VIEWS in segment.files for segment in manifest.segments):
            return None
        parts = []
        for segment in manifest.segments:
            if VIEWS in segment.files:
                data = self._objects.get(extra_key(manifest.name, manifest.generation, segment.id, VIEWS))
                rows = decode_views(manifest.name, segment, manifest.dim, data)
                parts.append(rows[self._live_rows(manifest, segment)])
            else:
                parts.append(np.zeros((segment.live_count, manifest.dim or 0), np.float32))
        return np.concatenate(parts)

    def _segment_features(self, manifest: GalleryManifest) -> list[bytes]:
        """The packed features of every item, empty where there are none."""
        return [packed for segment in manifest.segments for packed in self._live_features(manifest, segment)]

    def _all_features(self, manifest: GalleryManifest) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for segment in manifest.segments:
            found.update(self.segment_features(manifest, segment))
        return found

    def _live_features(self, manifest: GalleryManifest, segment: Segment) -> list[bytes]:
        if FEATURES not in segment.files:
            return [b""] * segment.live_count
        data = self._objects.get(extra_key(manifest.name, manifest.generation, segment.id, FEATURES))
        packed = decode_features(manifest.name, segment, data)
        kept = self._live_rows(manifest, segment)
        return list(packed[kept] if isinstance(kept, slice) else compress(packed, kept))

    def _live_rows(self, manifest: GalleryManifest, segment: Segment) -> slice | list[bool]:
        """Which rows of a segment's files are those of items that were not removed."""
        if not segment.removed:
            return slice(None)
        removed = frozenset(segment.removed)
        return [item.id not in removed for item in self._all_items(manifest, segment)]


def not_found(name: str) -> GalleryNotFound:
    """What is said of a gallery that does not exist."""
    return GalleryNotFound(f"There is no gallery {name!r}.")


def _restless(name: str) -> StorageUnavailable:
    return StorageUnavailable(f"The gallery {name!r} changes faster than it can be read.")

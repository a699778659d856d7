"""Items taken out of every kept version of a gallery: their segments are written again without them, and the old ones removed.

The versions keep their numbers; whoever went back to one finds it without these items. Whoever dies in between leaves the
gallery as it was, or with the items gone and old files that nothing names: the next run removes those.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from infra.erasure.pictures import manifests_of
from infra.errors.galleries import ItemNotFound
from infra.galleries.deleted import all_deleted, rewritten
from infra.galleries.files import encode_manifest
from infra.galleries.keys import all_segment_keys, files_prefix, manifest_key, token_of, version_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra.galleries.files import GalleryManifest, Item, Pointer, Segment
    from infra.galleries.store import GalleryStore


def erase_rows(store: GalleryStore, name: str, generation: str, ids: Collection[str], until: str) -> int:
    """Takes the items `ids` out of all kept versions of a gallery in force, or that can be restored. How many rows went.

    Items that were added after `until` (ISO 8601) stay. Raises GalleryBusy, GalleryCorrupt, StorageUnavailable.
    """
    _remove_from_current(store, name, generation, ids, until)
    with store._joining(name), store._writing(name) as writing:
        deleted = None
        pointer = writing.pointer
        if pointer is None or pointer.generation != generation:
            deleted = next((one for one in all_deleted(store, name) if one.generation == generation), None)
            if deleted is None:
                return 0  # purged, or restored under our eyes: then the next run finds it in force
            pointer = deleted.pointer
        token = writing.hold.token
        rewriting = _Rewriting(store, name, pointer, token, frozenset(ids), until)
        changed = rewriting.run()
        if changed is not None:
            if deleted is None:
                store._point(name, writing, changed)
            else:
                writing.hold.check()
                rewritten(store.objects, deleted, changed)
                writing.hold.check()
        _sweep(store, name, changed or pointer, token)
        return rewriting.rows


class _Rewriting:
    def __init__(
        self, store: GalleryStore, name: str, pointer: Pointer, token: int, ids: frozenset[str], until: str
    ) -> None:
        self._store, self._name, self._pointer, self._token = store, name, pointer, token
        self._ids, self._until = ids, until
        self._segments: dict[str, tuple[Segment | None, frozenset[str]]] = {}  # by the old id: the new one, what went
        self.rows = 0

    def run(self) -> Pointer | None:
        """Writes the new segments and manifests. The pointer to them, not yet written; None: nothing is to change."""
        names: dict[str, str] = {}
        for manifest in manifests_of(self._store, self._name, self._pointer):
            made = self._manifest(manifest)
            if made is not manifest:
                self._store.objects.put(manifest_key(self._name, made.generation, made.id), encode_manifest(made))
            names[manifest.id] = made.id
        if all(old == new for old, new in names.items()):
            return None
        return self._pointer.renamed(names, self._token)

    def _manifest(self, manifest: GalleryManifest) -> GalleryManifest:
        segments = []
        touched = False
        for segment in manifest.segments:
            new, gone = self._segment(manifest, segment)
            touched = touched or bool(gone)
            if new is not None:
                removed = tuple(one for one in segment.removed if one not in gone)
                segments.append(replace(new, removed=removed))
        if not touched:
            return manifest
        live = sum(segment.live_count for segment in segments)
        return replace(manifest, token=self._token, segments=tuple(segments), item_count=live)

    def _segment(self, manifest: GalleryManifest, segment: Segment) -> tuple[Segment | None, frozenset[str]]:
        if segment.id not in self._segments:
            self._segments[segment.id] = self._written(manifest, segment)
        return self._segments[segment.id]

    def _written(self, manifest: GalleryManifest, segment: Segment) -> tuple[Segment | None, frozenset[str]]:
        store = self._store
        items = store._all_items(manifest, segment)
        gone = {item.id for item in items if is_meant(item, self._ids, self._until)}
        if not gone:
            return segment, frozenset()
        self.rows += len(gone)
        left = [row for row, item in enumerate(items) if item.id not in gone]
        if not left:
            return None, frozenset(gone)
        whole = replace(manifest, segments=(replace(segment, removed=()),))
        rows = store._searched_rows(whole, manifest.dim or 0)
        rows = replace(rows, features=store._segment_features(whole)).take(left)
        place = replace(manifest, version=version_of(segment.id), token=self._token)
        return store._write_segment(place, [items[row] for row in left], rows), frozenset(gone)


def is_meant(item: Item, ids: Collection[str], until: str) -> bool:
    """Whether the item is one of `ids` that was there at `until`: one that was added again after that is another matter."""
    return item.id in ids and item.added_at <= until


def _remove_from_current(store: GalleryStore, name: str, generation: str, ids: Collection[str], until: str) -> None:
    """As any removal: a new version, so that answers from now on name another one."""
    for _ in range(5):
        pointer = store._newest_pointer(name)
        if pointer is None or pointer.generation != generation:
            return
        present = {item.id for item in store.items(name) if is_meant(item, ids, until)}
        if not present:
            return
        try:
            store.remove(name, present)
        except ItemNotFound:
            continue  # another writer took some meanwhile
        return


def _sweep(store: GalleryStore, name: str, pointer: Pointer, token: int) -> None:
    """Removes what no kept version of this generation names; files of a higher token are a later writer's."""
    needed: set[str] = set()
    for manifest in manifests_of(store, name, pointer):
        needed.add(manifest_key(name, pointer.generation, manifest.id))
        for segment in manifest.segments:
            needed.update(all_segment_keys(name, pointer.generation, segment))
    for key in list(store.objects.list(files_prefix(name, pointer.generation))):
        if key not in needed and token_of(key) <= token:
            store.objects.delete(key)

"""The steps of a change to a gallery: locked, written as segments and a manifest, and published by a pointer.

A writer that is overtaken publishes nothing: the pointer of the highest fencing token is in force (infra.galleries.store).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from contracts.errors import ServiceError
from infra.errors.galleries import GalleryCorrupt
from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.galleries.deleted import generations
from infra.galleries.files import (
    GalleryManifest,
    Item,
    Pointer,
    Segment,
    check_name,
    encode_embeddings,
    encode_features,
    encode_items,
    encode_manifest,
    encode_pointer,
    encode_views,
)
from infra.galleries.item_keys import encode_keys, made_keys
from infra.galleries.key_files import KEYED_FROM
from infra.galleries.keys import (
    DELETED,
    FEATURES,
    KEYS,
    VIEWS,
    all_segment_keys,
    extra_key,
    files_prefix,
    manifest_key,
    pointer_key,
    pointers_prefix,
    segment_keys,
    token_of,
    version_of,
)
from infra.galleries.locks import LocalLock
from infra.galleries.reader import GalleryReader, not_found
from infra.galleries.rows import Rows
from infra.objects.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from infra.galleries.locks import Hold, Lock
    from infra.galleries.milvus import MilvusServer
    from infra.objects.store import ObjectStore


KEPT_VERSIONS = 50  # how many one can go back
HELD_S = 7 * 86_400.0  # what was removed can be brought back for so long, however many versions follow
MOST_HELD = 200  # versions that are kept for that alone


@dataclass(frozen=True)
class Writing:
    """A change under way: the right to write, and what is in force (no pointer: nothing, or deleted)."""

    hold: Hold
    pointer: Pointer | None


class GalleryWriter(GalleryReader):
    """What a change does, step by step; GalleryStore puts the steps together."""

    def __init__(self, objects: ObjectStore, lock: Lock | None = None, milvus: MilvusServer | None = None) -> None:
        """`milvus`: the server that searches galleries of this index method; None: there are none."""
        super().__init__(objects)
        self.milvus = milvus
        self._lock = lock
        self._local = LocalLock(objects.folder / ".locks" if isinstance(objects, LocalStore) else None)

    @contextmanager
    def _writing(self, name: str) -> Iterator[Writing]:
        check_name(name)
        with ExitStack() as stack:
            for lock in (self._local, self._lock):
                if lock is not None:
                    newest = self._newest_pointer(name)
                    hold = stack.enter_context(lock.hold(name, newest.token if newest else 0))
            newest = self._newest_pointer(name)
            yield Writing(hold, None if newest is None or newest.generation == DELETED else newest)

    @contextmanager
    def _joining(self, name: str) -> Iterator[Callable[[], None]]:
        """The right to join files of a gallery: one joins at a time, and none while something is erased for good.

        What is given raises GalleryBusy if the right was lost. Who holds it may take the right to write, not the other way round.
        """
        with ExitStack() as stack:
            locks = [lock for lock in (self._local, self._lock) if lock is not None]
            holds = [stack.enter_context(lock.hold(f"{check_name(name)}+join", 0)) for lock in locks]
            yield partial(_check_all, holds)

    @contextmanager
    def filling(self, name: str) -> Iterator[None]:
        """The right to write a gallery's rows to its server. Raises GalleryBusy after a while."""
        with ExitStack() as stack:
            for lock in (self._local, self._lock):
                if lock is not None:
                    stack.enter_context(lock.hold(f"{check_name(name)}+fill", 0))
            yield

    def _base(self, name: str, writing: Writing) -> tuple[Pointer, GalleryManifest]:
        if writing.pointer is None:
            raise not_found(name)
        try:
            return writing.pointer, self._manifest(name, writing.pointer, None)
        except ObjectNotFound as error:
            raise GalleryCorrupt(f"A manifest of the gallery {name!r} is missing.") from error

    def _next(self, pointer: Pointer, base: GalleryManifest, hold: Hold) -> GalleryManifest:
        # After going back, the next number is above those that one can still go forth to.
        version = 1 + max(version_of(manifest_id) for manifest_id in pointer.manifests)
        return replace(base, version=version, token=hold.token, parent=base.version, created_at=now(), made_by=None)

    def _searched_rows(self, base: GalleryManifest, dim: int) -> Rows:
        """Embeddings and views of the items in the segments of `base`, without their features."""
        whole = replace(base, dim=dim)
        return Rows(self._segment_embeddings(whole), self._segment_views(whole), ())

    def _write_segment(self, manifest: GalleryManifest, items: Sequence[Item], rows: Rows) -> Segment:
        items_key, rows_key = segment_keys(manifest.name, manifest.generation, manifest.id)
        items_data, rows_data = encode_items(items), encode_embeddings(rows.embeddings)
        extra: dict[str, bytes] = {}
        if rows.views is not None and rows.views.any():
            extra[VIEWS] = encode_views(rows.views)
        if any(rows.features):
            extra[FEATURES] = encode_features(rows.features)
        if len(items) >= KEYED_FROM:
            extra[KEYS] = encode_keys(made_keys(items))
        self._objects.put(items_key, items_data)
        self._objects.put(rows_key, rows_data)
        for kind, data in extra.items():
            self._objects.put(extra_key(manifest.name, manifest.generation, manifest.id, kind), data)
        hashes = {kind: hashlib.sha256(data).hexdigest() for kind, data in extra.items()}
        return Segment(
            manifest.id,
            len(items),
            hashlib.sha256(items_data).hexdigest(),
            hashlib.sha256(rows_data).hexdigest(),
            files=hashes,
        )

    def _publish(
        self,
        name: str,
        writing: Writing,
        manifest: GalleryManifest,
        *,
        activate: bool = True,
        removes: bool = False,
    ) -> None:
        """The version, for all to see. `removes`: something of the one before is not in it, which is held for a week."""
        self._objects.put(manifest_key(name, manifest.generation, manifest.id), encode_manifest(manifest))
        pointer = writing.pointer
        current = manifest.id if activate or pointer is None else pointer.current
        known = (*(pointer.manifests if pointer else ()), manifest.id)
        at_s = time.time()
        held = {one: until for one, until in (pointer.held if pointer else {}).items() if until > at_s}
        if removes and pointer is not None:
            held[pointer.current] = at_s + HELD_S
        held = dict(sorted(held.items(), key=lambda one: version_of(one[0]))[-MOST_HELD:])
        # What is in force stays kept, however many versions are staged beside it.
        kept = tuple(
            one for at, one in enumerate(known) if at >= len(known) - KEPT_VERSIONS or one == current or one in held
        )
        staged = (*(pointer.staged if pointer else ()), manifest.id)  # what is in force is none: _point sees to it
        self._point(name, writing, Pointer(writing.hold.token, manifest.generation, current, kept, staged, held))

    def _point(self, name: str, writing: Writing, pointer: Pointer) -> None:
        """The one write that readers see. Raises GalleryBusy if another writer may have come between."""
        writing.hold.check()  # spares readers a version that the next writer, who read the one before, would undo
        key = pointer_key(name, pointer.token, pointer.generation)
        self._objects.put(key, encode_pointer(pointer.tidy()))
        # Still ours: whoever writes next reads this pointer first. Not ours: it may have read the one before.
        writing.hold.check()
        for old in list(self._objects.list(pointers_prefix(name))):
            if old < key:
                with contextlib.suppress(StorageUnavailable):  # it counts for nothing; a later writer removes it
                    self._objects.delete(old)

    def _prune(self, name: str, token: int) -> None:
        """Removes what no kept version names: merged segments, and what dead writers left. Mere housekeeping."""
        with contextlib.suppress(ServiceError):
            pointer = self._pointer(name)
            needed: set[str] = set()
            for manifest_id in pointer.manifests:
                manifest = self._manifest(name, pointer, version_of(manifest_id))
                needed.add(manifest_key(name, pointer.generation, manifest_id))
                for segment in manifest.segments:
                    needed.update(all_segment_keys(name, pointer.generation, segment))
            self._sweep(name, token, needed)

    def _sweep(self, name: str, token: int, needed: Collection[str] = ()) -> None:
        # Files of a higher token belong to a later writer, who may have come while this one was paused.
        in_force = {key.split("/")[3] for key in needed}
        others = generations(self._objects, name) - in_force  # deleted, and to be restored, perhaps
        for key in list(self._objects.list(files_prefix(name))):
            if key not in needed and key.split("/")[3] not in others and token_of(key) <= token:
                self._objects.delete(key)


def _check_all(holds: Sequence[Hold]) -> None:
    for hold in holds:
        hold.check()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Deleted galleries, kept for a while so that they can be restored, and purged after that.

    galleries/deleted/<name>/<token>-<generation>.json    what was in force when it was deleted (JSON)

A deletion first writes this record and then the pointer that says that there is none; nothing else is touched. A record whose
generation is in force counts for nothing: its writer died before the pointer, or the gallery was restored. So whoever dies
anywhere leaves the gallery there or deleted, and in either case whole. A purge marks the record first; from then on it cannot
be restored, and whoever finds the mark deletes on.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.errors.galleries import GalleryCorrupt, GalleryExists, GalleryNotFound, MilvusUnavailable
from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.galleries.files import Pointer, check_name
from infra.galleries.keys import DELETED, feedback_prefix, files_prefix, lint_prefix
from infra.runtime import audit

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.galleries.files import GalleryManifest
    from infra.galleries.reader import GalleryReader
    from infra.galleries.store import GalleryStore
    from infra.objects.store import ObjectStore

RECORDS = "galleries/deleted/"
SCHEMA = 1
_KEY = re.compile(rf"{RECORDS}([^/]+)/(\d+)-(\w+)\.json")


@dataclass(frozen=True)
class DeletedGallery:
    """A gallery that can be restored: what was in force, and when it was deleted."""

    name: str
    generation: str
    token: int  # of the writer that deleted it
    deleted_at: str  # ISO 8601, UTC
    version: int
    item_count: int
    embedder_digest: str | None
    current: str
    manifests: tuple[str, ...]
    purging: bool = False
    staged: tuple[str, ...] = ()
    held: dict[str, float] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """Where its record is."""
        return f"{records_prefix(self.name)}{self.token:016d}-{self.generation}.json"

    @property
    def pointer(self) -> Pointer:
        """What was in force."""
        return Pointer(self.token, self.generation, self.current, self.manifests, self.staged, self.held)

    @property
    def deleted_s(self) -> float:
        """When, in seconds since 1970."""
        return datetime.fromisoformat(self.deleted_at).timestamp()


def records_prefix(name: str) -> str:
    """Where the records of a gallery's name are."""
    return f"{RECORDS}{check_name(name)}/"


def write_record(
    objects: ObjectStore, name: str, pointer: Pointer, manifest: GalleryManifest | None, version: int, token: int
) -> None:
    """The step before the gallery goes: what `restore` needs. `manifest` None: it cannot be read."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    made = DeletedGallery(
        name,
        pointer.generation,
        token,
        now,
        version,
        0 if manifest is None else manifest.item_count,
        None if manifest is None else manifest.embedder_digest,
        pointer.current,
        pointer.manifests,
        staged=pointer.staged,
        held=dict(pointer.held),
    )
    _put(objects, made)


def generations(objects: ObjectStore, name: str) -> set[str]:
    """The generations of a name that have a record: their files are nobody's rubbish."""
    return {found[3] for key in objects.list(records_prefix(name)) if (found := _KEY.fullmatch(key))}


def all_deleted(reader: GalleryReader, name: str | None = None, *, purging: bool = False) -> list[DeletedGallery]:
    """The deleted galleries, of one name or all, in the order of their deletion.

    `purging`: those that are being purged too. Raises GalleryCorrupt, StorageUnavailable.
    """
    newest: dict[tuple[str, str], str] = {}
    for key in reader.objects.list(RECORDS if name is None else records_prefix(name)):
        if found := _KEY.fullmatch(key):
            newest[found[1], found[3]] = key  # ascending by token: the last deletion of a generation counts
    deleted = []
    for (gallery, generation), key in newest.items():
        pointer = reader._newest_pointer(gallery)
        if pointer is not None and pointer.generation == generation:
            continue
        with suppress(ObjectNotFound):  # restored or purged in this moment
            one = _decoded(reader.objects.get(key))
            if purging or not one.purging:
                deleted.append(one)
    return sorted(deleted, key=lambda one: (one.deleted_at, one.name, one.token))


def restore(store: GalleryStore, name: str, generation: str | None = None) -> GalleryManifest:
    """Puts the gallery that was deleted last, or the one of `generation`, in force again with all its versions and feedback.

    Raises GalleryNotFound if there is none, GalleryExists if there is a gallery of this name now.
    """
    with store._writing(name) as writing:
        if writing.pointer is not None:
            if generation is not None and writing.pointer.generation == generation:
                return store._base(name, writing)[1]  # restored before, and the answer was lost
            raise GalleryExists(
                f"There is a gallery {name!r} now. Delete it first, then restore the one before: both stay restorable."
            )
        found = [one for one in all_deleted(store, name) if generation in (None, one.generation)]
        if not found:
            raise GalleryNotFound(f"There is no deleted gallery {name!r} to restore.")
        pointer = replace(found[-1].pointer, token=writing.hold.token)
        manifest = store._manifest(name, pointer, None)  # before it is said to be there
        store._point(name, writing, pointer)
        audit.gallery_changed("restored", name, None, manifest.version)
        _forget(store.objects, name, pointer.generation)
        return manifest


def rewritten(objects: ObjectStore, deleted: DeletedGallery, pointer: Pointer) -> None:
    """The record with other files of the same versions, for whoever holds the gallery's lock."""
    made = replace(
        deleted,
        token=pointer.token,
        current=pointer.current,
        manifests=pointer.manifests,
        staged=pointer.staged,
        held=dict(pointer.held),
    )
    _put(objects, made)
    objects.delete(deleted.key)


def purge(store: GalleryStore, deleted: DeletedGallery, before: Callable[[DeletedGallery], None] | None = None) -> bool:
    """Removes all files of a deleted gallery. `before` is called when it can no longer be restored, and nothing is removed yet.

    May be repeated by whoever finds it unfinished. False: it was restored meanwhile. Raises MilvusUnavailable.
    """
    name, generation = deleted.name, deleted.generation
    if not deleted.purging:
        with store._writing(name) as writing:
            if not any(one.key == deleted.key for one in all_deleted(store, name, purging=True)):
                return False
            deleted = replace(deleted, purging=True)
            _put(store.objects, deleted)
            writing.hold.check()
    if before is not None:
        before(deleted)
    prefixes = files_prefix(name, generation), feedback_prefix(name, generation), lint_prefix(name, generation)
    with store._joining(name):  # whoever joins files of it writes none any more
        keys = [key for prefix in prefixes for key in store.objects.list(prefix)]
        if store.milvus is not None and any(key.endswith(".milvus.json") for key in keys):
            store.milvus.drop(store.milvus.collection(generation))
        for key in keys:
            store.objects.delete(key)
    audit.gallery_changed("purged", name, deleted.version, None)
    _forget(store.objects, name, generation)
    return True


def purge_due(
    store: GalleryStore, keep_s: float, now: float, before: Callable[[DeletedGallery], None] | None = None
) -> int:
    """Purges what was deleted `keep_s` seconds before `now`, and what an earlier purge left. Returns how many."""
    due = [one for one in all_deleted(store, purging=True) if one.purging or one.deleted_s + keep_s <= now]
    purged, failure = 0, None
    for one in due:
        try:
            purged += purge(store, one, before)
        except MilvusUnavailable as error:  # which keeps no other gallery from its end
            failure = error
    if failure is not None:
        raise failure
    return purged


def another_generation(generation: str) -> str:
    """A generation that follows from this one: of a creation that is repeated after what it made was deleted."""
    return f"{int(generation, 16) * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFF:012x}"


def _forget(objects: ObjectStore, name: str, generation: str) -> None:
    for key in list(objects.list(records_prefix(name))):
        if key.endswith(f"-{generation}.json"):
            with suppress(StorageUnavailable):  # it counts for nothing any more, or the next purge ends it
                objects.delete(key)


def _put(objects: ObjectStore, one: DeletedGallery) -> None:
    objects.put(one.key, json.dumps({"schema": SCHEMA, **asdict(one)}).encode())


def _decoded(data: bytes) -> DeletedGallery:
    try:
        found = json.loads(data)
        if found["schema"] != SCHEMA:
            raise ValueError("another schema")
        found = {"staged": (), "held": {}, **found}  # records from before there were such members lack them
        known = {member.name: found[member.name] for member in fields(DeletedGallery)}
        made = DeletedGallery(**{**known, **{name: tuple(known[name]) for name in ("manifests", "staged")}})
        datetime.fromisoformat(made.deleted_at)
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt("A record of a deleted gallery cannot be read.") from error
    if made.generation == DELETED:
        raise GalleryCorrupt("A record of a deleted gallery cannot be read.")
    return made

"""Galleries in the object store: immutable segments and manifests, and a pointer that is written last.

A reader sees a version whole or not at all, whatever a writer dies of: every write before the pointer's is invisible.
The pointer itself is never overwritten. Each writer writes its own, named by its fencing token, and the highest token
is in force; so a writer that was paused and overtaken publishes nothing, in a store that knows no conditional put.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import ServiceError
from contracts.indexes import choice_of
from contracts.names import readable_label
from infra.errors.galleries import EmbedderMismatch, GalleryCorrupt, GalleryExists, ItemNotFound, VersionNotFound
from infra.galleries.calibration import FEWEST_LABELS, carried, fitted, fused_otherwise, is_due, unfitted
from infra.galleries.compaction import compact, postponed
from infra.galleries.deleted import another_generation, generations, write_record
from infra.galleries.files import GalleryManifest, Item, Pointer, check_name, item_id
from infra.galleries.keys import DELETED, manifest_key, version_of
from infra.galleries.locks import GalleryLock
from infra.galleries.lookup import count_labels, find, in_segment, known
from infra.galleries.merges import MAX_SEGMENTS, split_for_merge
from infra.galleries.milvus import required
from infra.galleries.reader import not_found
from infra.galleries.rows import checked_rows
from infra.galleries.stand_ins import known_by_vector, without
from infra.galleries.writer import GalleryWriter, now
from infra.runtime import audit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from infra.galleries.calibration import Calibrate

__all__ = ["MAX_SEGMENTS", "Added", "GalleryLock", "GalleryManifest", "GalleryStore", "Item", "item_id"]

MOST_WITH_FEATURES = (
    32_000  # items, at most 8 kB each: a merge joins them in memory, and no worker holds more of a gallery
)


@dataclass(frozen=True)
class Added:
    """What an add did: the version in force after it, and the ids that are new and those that it had already.

    `completed` of the new ones took the place of an item that had come without its picture.
    """

    manifest: GalleryManifest
    added_ids: tuple[str, ...]
    duplicate_ids: tuple[str, ...]
    completed: int = 0


class GalleryStore(GalleryWriter):
    """All galleries of one object store; may be used by many threads.

    `lock` keeps the writers of several machines apart. Without it, and within one folder also beside it, a lock between
    the threads and processes of this machine does. Every method raises InvalidGalleryName, GalleryNotFound,
    GalleryCorrupt and StorageUnavailable where they apply; those that write also GalleryBusy, after which it is unknown
    whether the change was made: doing it again is harmless.
    """

    def create(
        self,
        name: str,
        embedder_digest: str | None = None,
        generation: str | None = None,
        index: dict[str, Any] | None = None,
    ) -> GalleryManifest:
        """An empty gallery, version 1. Without a digest its first items decide on the embedder.

        Raises GalleryExists, and MilvusNotConfigured where `index` wants a server that there is not.

        `generation`: 12 random hex digits drawn by the caller, who may come twice: what it made before is then given as it is.
        `index`: how it is searched, by contracts.indexes.
        """
        self._check_index(index)
        with self._writing(check_name(name)) as writing:
            generation = generation or secrets.token_hex(6)
            deleted = generations(self._objects, name)
            while generation in deleted and (writing.pointer is None or writing.pointer.generation != generation):
                generation = another_generation(generation)
            if writing.pointer is not None:
                if writing.pointer.generation == generation:
                    return self._base(name, writing)[1]
                raise GalleryExists(f"There is a gallery {name!r} already.")
            manifest = GalleryManifest(
                name, 1, generation, writing.hold.token, None, now(), embedder_digest, None, item_count=0, index=index
            )
            self._publish(name, writing, manifest)
            with contextlib.suppress(ServiceError):  # what an interrupted delete left hurts nobody
                self._sweep(name, manifest.token, {manifest_key(name, generation, manifest.id)})
            audit.gallery_changed("created", name, None, manifest.version)
            return manifest

    def add(
        self,
        name: str,
        items: Sequence[Item],
        embeddings: NDArray[np.float32],
        embedder_digest: str,
        views: NDArray[np.float32] | None = None,
        features: Sequence[bytes] | None = None,
        calibrate: Calibrate | None = None,
        *,
        activate: bool = True,
        made_by: str | None = None,
        stand_ins: Collection[str] = (),
    ) -> Added:
        """A new version with `items` and their `embeddings` (N, D); what the gallery has already is left as it is.

        `views` (N, D; a row of zeros: none) and packed `features` (empty: none) are kept next to them; features not
        in galleries of more than MOST_WITH_FEATURES items. What `calibrate`
        makes of the whole new version goes into its manifest; without it, what was fitted before stays, as it does in a
        large gallery that changed little since (`infra.galleries.calibration`).
        Items are the same if their ids are, and ids follow from the content (`item_id`): adding twice changes nothing.
        Where many files are large, they are joined after the version is in force, under its number (`infra.galleries.compaction`).
        Without `activate` the version is kept next to the others, and the one in force stays in force. `made_by` goes into
        its manifest, for `made_by` to find. `stand_ins` are the digests that the items of an index have where their
        pictures did not come: then those of the same label and vector are the same, and one with its picture takes the
        place of one without.
        Raises EmbedderMismatch if the gallery was made by another embedder, ValueError if the arguments do not fit
        each other.
        """
        rows = checked_rows(items, embeddings, views, features)
        dim = rows.embeddings.shape[1]
        with self._writing(name) as writing:
            pointer, base = self._base(name, writing)
            if base.embedder_digest not in (None, embedder_digest) or base.dim not in (None, dim):
                raise EmbedderMismatch(
                    f"The gallery {name!r} was made with another embedder; enrol its pictures in a new gallery."
                )
            there = known(self, base, [item.id for item in items])
            same: set[int] = set()
            completed: set[str] = set()
            if stand_ins and base.item_count:
                old = self._segment_items(base)
                same, completed = known_by_vector(
                    old, self._segment_embeddings(base), items, rows.embeddings, stand_ins
                )
            chosen: dict[str, int] = {}
            for row, item in enumerate(items):
                if row not in same and item.id not in there:
                    chosen.setdefault(item.id, row)
            duplicates = tuple(item.id for row, item in enumerate(items) if chosen.get(item.id) != row)
            if not chosen:
                return Added(base, (), duplicates)
            if completed:
                by_segment = [(segment, self._live_items(base, segment)) for segment in base.segments]
                base = replace(
                    base, segments=without(by_segment, completed), item_count=base.item_count - len(completed)
                )
            manifest = replace(
                self._next(pointer, base, writing.hold),
                embedder_digest=embedder_digest,
                dim=dim,
                item_count=base.item_count + len(chosen),
                made_by=made_by,
            )
            fresh, fresh_rows = [items[row] for row in chosen.values()], rows.take(list(chosen.values()))
            featured = manifest.item_count <= MOST_WITH_FEATURES
            if not featured:
                fresh_rows = replace(fresh_rows, features=())
            segments, merged = split_for_merge(base.segments, len(fresh))
            late, joins_later = postponed(base.segments, merged)
            if late:  # the version shall not wait for it
                segments, merged = base.segments, ()
            if calibrate is not None and is_due(manifest):
                whole = self._searched_rows(base, dim) + replace(fresh_rows, features=())
                manifest = fitted(manifest, calibrate, (*self._segment_items(base), *fresh), whole)
            if merged:
                part = replace(base, segments=merged)
                stored = self._searched_rows(part, dim)
                stored = replace(stored, features=self._segment_features(part) if featured else ())
                fresh, fresh_rows = [*self._segment_items(part), *fresh], stored + fresh_rows
            segment = self._write_segment(manifest, fresh, fresh_rows)
            manifest = replace(manifest, segments=(*segments, segment))
            self._publish(name, writing, manifest, activate=activate)
            done = "added" if activate else "staged"
            audit.gallery_changed(done, name, base.version, manifest.version, items=len(chosen))
            if merged:
                self._prune(name, manifest.token)
        if joins_later and activate:
            with contextlib.suppress(ServiceError):  # mere housekeeping
                joined = compact(self, name, MOST_WITH_FEATURES)
                manifest = joined if joined is not None and joined.version == manifest.version else manifest
        return Added(manifest, tuple(chosen), duplicates, len(completed))

    def find(self, name: str, ids: Collection[str]) -> dict[str, Item]:
        """The items of the version in force that have these ids; only segments with one of them are read."""
        return self.reading(name, None, lambda manifest: find(self, manifest, ids))

    def made_by(self, name: str, maker: str) -> GalleryManifest | None:
        """The newest kept version that `add` made with this `made_by`; None: there is none."""
        found = (self.manifest(name, version) for version in reversed(self.versions(name)))
        return next((manifest for manifest in found if manifest.made_by == maker), None)

    def remove(
        self,
        name: str,
        item_ids: Collection[str] = (),
        labels: Collection[str] = (),
        calibrate: Calibrate | None = None,
    ) -> GalleryManifest:
        """A new version without these items and without all items of these labels; `calibrate` as in `add`.

        Without it, what was fitted before goes where too little is left of what it was fitted to.
        Raises ItemNotFound, and changes nothing, if one of the ids or labels is not there.
        """
        labels = [readable_label(label) for label in labels]
        with self._writing(name) as writing:
            pointer, base = self._base(name, writing)
            found = [in_segment(self, base, segment, item_ids, labels) for segment in base.segments]
            require_present(name, item_ids, {one for of in found for one in of.ids}, "item")
            require_present(name, labels, {label for of in found for label in of.labels}, "item of the label")
            if not any(of.ids for of in found):
                return base
            segments = tuple(
                replace(of.segment, removed=(*of.segment.removed, *of.ids)) if of.ids else of.segment
                for of in found
                if of.segment.live_count > len(of.ids)
            )
            left = sum(segment.live_count for segment in segments)
            gone = base.item_count - left
            manifest = replace(self._next(pointer, base, writing.hold), segments=segments, item_count=left)
            manifest = carried(base, manifest, count_labels(self, manifest, FEWEST_LABELS))
            if left and calibrate is not None and is_due(manifest):
                rows = self._searched_rows(manifest, base.dim or 0)
                manifest = fitted(manifest, calibrate, self._segment_items(manifest), rows)
            self._publish(name, writing, manifest, removes=True)
            audit.gallery_changed("removed", name, base.version, manifest.version, items=gone)
            return manifest

    def activate(self, name: str, version: int, instead_of: GalleryManifest | None = None) -> GalleryManifest:
        """Puts a version that is kept in force: back, or forth again. Raises VersionNotFound.

        With `instead_of` only if that is the version in force; VersionNotFound else.
        """
        with self._writing(name) as writing:
            pointer, base = self._base(name, writing)
            if instead_of is not None and (base.generation, base.id) != (instead_of.generation, instead_of.id):
                raise VersionNotFound(f"The version {instead_of.version} of the gallery {name!r} is not in force.")
            manifest = self._manifest(name, pointer, version)
            if manifest != base:
                self._point(name, writing, replace(pointer, token=writing.hold.token, current=manifest.id))
                audit.gallery_changed("activated", name, base.version, manifest.version)
            return manifest

    def undo(self, name: str) -> GalleryManifest:
        """Puts the version that the one in force was made from in force again. Raises VersionNotFound if it is not kept."""
        with self._writing(name) as writing:
            pointer, base = self._base(name, writing)
            if base.parent is None or pointer.manifest_id(base.parent) is None:
                raise VersionNotFound(f"The gallery {name!r} has no kept version before {base.version}.")
            manifest = self._manifest(name, pointer, base.parent)
            self._point(name, writing, replace(pointer, token=writing.hold.token, current=manifest.id))
            audit.gallery_changed("activated", name, base.version, manifest.version)
            return manifest

    def choose_index(self, name: str, index: dict[str, Any], calibrate: Calibrate | None = None) -> GalleryManifest:
        """A new version that is searched as `index` says (contracts.indexes); none if it says what is in force.

        Where pictures are fused otherwise than before, `calibrate` fits it as in `add`; without it what was fitted goes.
        Raises MilvusNotConfigured where `index` wants a server that there is not.
        """
        self._check_index(index)
        with self._writing(name) as writing:
            pointer, base = self._base(name, writing)
            if base.index == index:
                return base
            manifest = replace(self._next(pointer, base, writing.hold), index=index)
            if fused_otherwise(base.index, index):
                manifest = unfitted(manifest)
                if calibrate is not None and base.item_count:
                    rows = self._searched_rows(base, base.dim or 0)
                    manifest = fitted(manifest, calibrate, self._segment_items(base), rows)
            self._publish(name, writing, manifest)
            audit.gallery_changed("index chosen", name, base.version, manifest.version)
            return manifest

    def _check_index(self, index: dict[str, Any] | None) -> None:
        if choice_of(index).remote:
            required(self.milvus)

    def delete(self, name: str) -> None:
        """The gallery is there no more; it can be restored until it is purged (infra.galleries.deleted)."""
        with self._writing(name) as writing:
            token = writing.hold.token
            if writing.pointer is None:
                self._sweep(name, token)  # what deletions of earlier releases left
                raise not_found(name)
            manifest = None
            with contextlib.suppress(GalleryCorrupt):  # a damaged gallery can be deleted, too
                manifest = self._base(name, writing)[1]
            version = version_of(writing.pointer.current)
            write_record(self._objects, name, writing.pointer, manifest, version, token)
            # A pointer to nothing is written, not the pointers removed: removing the highest would revive the next.
            self._point(name, writing, Pointer(token, DELETED, "", ()))
            audit.gallery_changed("deleted", name, version, None)


def require_present(name: str, asked: Collection[str], present: set[str], what: str) -> None:
    """Raises ItemNotFound for the first of `asked` that is not `present`."""
    for key in asked:
        if key not in present:
            raise ItemNotFound(f"The gallery {name!r} has no {what} {key!r}.")

"""Makes searchable galleries of stored versions: small ones whole, large ones of parts that versions share."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, ref

import numpy as np

from contracts.indexes import choice_of, is_used
from infra.errors.galleries import GalleryCorrupt
from infra.galleries.indexes import discard, due, read_record
from infra.galleries.lookup import find
from models.errors import GalleryError
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.built_index import BuiltIndex, open_index
from models.galleries.calibration import stored_calibration
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.galleries.parted import PartedGallery
from models.galleries.parts import Labelled, LabelTable, Part
from models.galleries.sourced_gallery import LocalSource, SourcedGallery
from worker.milvus_filler import filled_of
from worker.milvus_rows import MilvusRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contracts.indexes import BuiltKind, IndexChoice
    from infra.galleries.files import Segment
    from infra.galleries.indexes import IndexRecord
    from infra.galleries.milvus import MilvusServer
    from infra.galleries.segments import SegmentFiles, StoredSegment
    from infra.galleries.store import GalleryManifest, GalleryStore, Item
    from models.galleries.gallery import LabeledItem

log = logging.getLogger(__name__)

COUNTED_FOR_S = 600.0  # for so long a server's rows that somebody searches without a fault are not counted again
ROW_BYTES = 4  # of each dimension
BYTES_PER_ITEM = 600  # one Item and its strings as Python objects, measured
ITEM_LINE_BYTES = (
    16  # of one in a mapped file: where its line begins, its label, and its place among those of its label
)


@dataclass(frozen=True)
class Loaded:
    """A gallery of one version, about how many bytes it holds, and the indexes that it is searched without so far.

    `held` keeps its files in memory for the next version.
    """

    gallery: Gallery
    size_bytes: int
    awaited: tuple[tuple[Segment, BuiltKind], ...]
    held: tuple[StoredSegment, ...]


class GalleryParts:
    """Loads versions; may be used by many threads. Parts are shared with what is loaded still."""

    def __init__(self, store: GalleryStore, files: SegmentFiles) -> None:
        self._store, self._files = store, files
        self._tables: WeakValueDictionary[str, LabelTable] = WeakValueDictionary()
        self._labelled: WeakValueDictionary[int, Labelled] = WeakValueDictionary()
        self._remote_rows: dict[
            str, tuple[ref[MilvusRows], float]
        ] = {}  # by collection: the last, and when all was counted

    def load(
        self, manifest: GalleryManifest, features: Callable[[GalleryManifest, Any], Callable[[str], Any]] | None
    ) -> Loaded:
        """A version as a gallery. Raises ObjectNotFound if it has gone, GalleryCorrupt, StorageUnavailable, MilvusUnavailable."""
        server = self._store.milvus
        if server is not None and choice_of(manifest.index).remote:
            records = [(one, read_record(self._store, manifest, one, kind)) for one, kind in due(manifest)]
            known = [(segment, record) for segment, record in records if record is not None]
            if (rows := self._rows(manifest, server, known)) is not None:
                return self._remote(manifest, rows, features)
        return self._local(manifest, features)

    def _remote(
        self,
        manifest: GalleryManifest,
        rows: MilvusRows,
        features: Callable[[GalleryManifest, Any], Callable[[str], Any]] | None,
    ) -> Loaded:
        """Of the segments that the server has no file is read; all others are searched here."""
        there = {one.segment for one in rows.filled}
        left = replace(manifest, segments=tuple(one for one in manifest.segments if one not in there))
        local = self._local(replace(left, item_count=sum(one.live_count for one in left.segments)), None)
        calibration = stored_calibration(manifest.calibration, manifest.name)
        gallery = SourcedGallery(
            [LocalSource(local.gallery), rows], manifest.dim or 0, manifest.name, manifest.version, calibration
        )
        if features is not None:
            gallery.features_by(features(manifest, gallery.find))
        return Loaded(gallery, local.size_bytes, local.awaited, local.held)

    def _rows(
        self, manifest: GalleryManifest, server: MilvusServer, known: Sequence[tuple[Segment, IndexRecord]]
    ) -> MilvusRows | None:
        """What the server has of a version; None: nothing. Versions of the same files share what is remembered of them.

        There are many partitions in a large gallery, and they never change: what the version before searches without a
        fault is counted again only after COUNTED_FOR_S.
        """
        collection = server.collection(manifest.generation)
        newest, counted_at = self._remote_rows.get(collection, (None, 0.0))
        before = newest() if newest is not None else None
        if before is None or before.outdated or counted_at < time.monotonic() - COUNTED_FOR_S:
            before, counted_at = None, time.monotonic()
        filled = filled_of(self._store, server, manifest, known, before.partitions if before else ())
        if not filled:
            return None
        if before is not None and before.filled == tuple(filled):
            return before
        find_here = partial(find, self._store, manifest)
        rows = MilvusRows(server, collection, filled, manifest.dim or 0, find_here)
        self._remote_rows[collection] = ref(rows), counted_at
        return rows

    def _local(
        self, manifest: GalleryManifest, features: Callable[[GalleryManifest, Any], Callable[[str], Any]] | None
    ) -> Loaded:
        stored = [self._files.segment(manifest, segment) for segment in manifest.segments]
        living = [one.alive(segment.removed) for segment, one in zip(manifest.segments, stored, strict=True)]
        choice = choice_of(manifest.index)
        wanted = dict(due(manifest))
        if not choice.fuse and (choice.binary or not (wanted or any(one.mapped for one in stored))):
            return self._whole(manifest, stored, living, choice, features)
        table = self._table(manifest)
        parts, small, awaited, size = [], [], [], 0
        for segment, one, alive in zip(manifest.segments, stored, living, strict=True):
            kind = wanted.get(segment)
            if kind is None and not one.mapped:
                small.append((one, alive))
                continue
            index, awaits = self._index(manifest, segment, kind, choice)
            if awaits and kind is not None:
                awaited.append((segment, kind))
            parts.append(Part(self._labels(one, table), index, alive))
            own = (ITEM_LINE_BYTES if one.mapped else BYTES_PER_ITEM) * len(one.items)
            size += own + (0 if one.mapped else one.embeddings.nbytes)
        if small:
            items, rows = _joined(small, manifest.dim or 0)
            parts.append(Part(Labelled(items, rows, table)))
            size += rows.nbytes + BYTES_PER_ITEM * len(items)
        calibration = stored_calibration(manifest.calibration, manifest.name)
        pictures = PartedGallery(parts, table, manifest.name, manifest.version, calibration)
        if features is not None:
            pictures.features_by(features(manifest, pictures.items))
        gallery: Gallery = pictures
        if choice.fuse:
            gallery = fused = FusedGallery(pictures, choice)
            size += 2 * fused.thing_count * fused.dim * ROW_BYTES
        return Loaded(gallery, size, tuple(awaited), tuple(stored))

    def has_come(self, manifest: GalleryManifest, awaited: tuple[tuple[Segment, BuiltKind], ...]) -> bool:
        """Whether one of the indexes is there now."""
        return any(read_record(self._store, manifest, segment, kind) for segment, kind in awaited)

    def _whole(
        self,
        manifest: GalleryManifest,
        stored: list[StoredSegment],
        living: list[Any],
        choice: IndexChoice,
        features: Callable[[GalleryManifest, Any], Callable[[str], Any]] | None,
    ) -> Loaded:
        items: Sequence[Item | LabeledItem]
        if any(one.mapped for one in stored):
            table = self._table(manifest)
            parted = PartedGallery(
                [Part(self._labels(one, table), None, alive) for one, alive in zip(stored, living, strict=True)], table
            )
            items, rows, own = parted.items, parted.embeddings(), ITEM_LINE_BYTES
        else:
            items, rows = _joined(list(zip(stored, living, strict=True)), manifest.dim or 0)
            own = BYTES_PER_ITEM
        described = None if features is None else features(manifest, items)
        calibration = stored_calibration(manifest.calibration, manifest.name)
        about = (manifest.name, manifest.version, calibration, described)
        gallery: Gallery
        size = 2 * rows.nbytes + own * len(items)  # the index holds its own copy of the vectors
        if choice.binary and rows.shape[1] % 8 == 0 and len(items):
            gallery = BinaryGallery(items, rows, *about, kind=choice.binary_kind, rerank=choice.rerank)
        else:
            gallery = Gallery(items, rows, *about)
        return Loaded(gallery, size, (), tuple(stored))

    def _table(self, manifest: GalleryManifest) -> LabelTable:
        return self._tables.setdefault(f"{manifest.name}/{manifest.generation}", LabelTable())

    def _labels(self, stored: StoredSegment, table: LabelTable) -> Labelled:
        found = self._labelled.get(id(stored))
        if found is None or found.items is not stored.items or found.table is not table:
            found = self._labelled[id(stored)] = Labelled(stored.items, stored.embeddings, table)
        return found

    def _index(
        self, manifest: GalleryManifest, segment: Segment, kind: BuiltKind | None, choice: IndexChoice
    ) -> tuple[BuiltIndex | None, bool]:
        """The index of a segment, if it may be used; and whether it is still awaited."""
        if kind is None or kind == "Milvus":  # rows that the server lacks are searched here until it has them
            return None, kind is not None and self._store.milvus is not None
        try:
            found = self._files.index(manifest, segment, kind)
            if found is None:
                return None, True
            record, path = found
            if not is_used(choice, record.recall_at_1):
                return None, False
            index = open_index(path, kind, record.depth)
            if (index.count, index.dim) != (segment.item_count, manifest.dim):
                raise GalleryError("it is of other rows", "gallery_index_damaged")
        except (GalleryCorrupt, GalleryError) as error:
            log.warning(
                "a damaged index is not used, and is built again",
                extra={"gallery": manifest.name, "segment": segment.id, "why": error.detail},
            )
            discard(self._store, manifest, segment, kind)
            return None, True
        return index, False


def _joined(several: list[tuple[StoredSegment, Any]], dim: int) -> tuple[tuple[Item, ...], Any]:
    """The living items of small segments and their rows, copied."""
    items: list[Item] = []
    rows = [np.empty((0, dim), np.float32)]
    for stored, alive in several:
        items += stored.items if alive is None else [stored.items[at] for at in np.flatnonzero(alive).tolist()]
        rows.append(stored.embeddings if alive is None else stored.embeddings[alive])
    return tuple(items), np.concatenate(rows)

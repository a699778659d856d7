"""`python -m worker.index_builder NAME`: builds the indexes that the gallery NAME lacks, and ends.

A process of its own, at low priority: what it needs in memory is free afterwards, and no job waits for it. Killed at any
moment it leaves nothing that anybody reads (infra.galleries.indexes); the next one starts again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from contracts.errors import ServiceError
from infra.errors.galleries import GalleryNotFound
from infra.errors.photos import ObjectNotFound
from infra.galleries.indexes import IndexRecord, due, publish, read_record
from infra.galleries.keys import index_keys
from infra.galleries.milvus import open_milvus, required
from infra.galleries.segments import SegmentFiles
from infra.galleries.store import GalleryLock, GalleryStore
from infra.jobs.records import isoformat
from infra.objects.opening import open_store
from infra.redis.client import open_client
from infra.runtime.logs import configure_logging, fatal
from infra.runtime.settings import load_settings
from models.galleries.built_index import build
from worker.milvus_filler import fill

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from contracts.indexes import BuiltKind
    from infra.galleries.files import GalleryManifest, Segment

NICENESS = 10
CACHE = "cache/galleries"  # below the data folder: what is mapped from a bucket

log = logging.getLogger(__name__)


def missing(store: GalleryStore, manifest: GalleryManifest) -> list[tuple[Segment, BuiltKind]]:
    """The indexes that a version lacks and that can be built, the largest first. Raises StorageUnavailable."""
    wanted = [one for one in due(manifest) if one[1] != "Milvus" or store.milvus is not None]
    lacking = [one for one in wanted if read_record(store, manifest, *one) is None]
    return sorted(lacking, key=lambda one: -one[0].item_count)


def build_missing(store: GalleryStore, files: SegmentFiles, name: str) -> int:
    """Builds what the version in force lacks; the number of indexes. Raises ServiceError, GalleryError.

    One process at a time fills a server: what two of them fill is there twice. Raises GalleryBusy for the others.
    """
    if not any(kind == "Milvus" for _, kind in missing(store, store.manifest(name))):
        return _build_missing(store, files, name)
    with store.filling(name):
        return _build_missing(store, files, name)


def _build_missing(store: GalleryStore, files: SegmentFiles, name: str) -> int:
    manifest = store.manifest(name)
    built = 0
    for segment, kind in missing(store, manifest):
        try:
            stored = files.segment(manifest, segment)
        except ObjectNotFound:
            continue  # the version was replaced meanwhile
        if kind == "Milvus":
            record = fill(required(store.milvus), manifest, segment, stored)
            publish(store, manifest, segment, kind, None, record)
        else:
            data, record = _built(segment, kind, stored.embeddings)
            publish(store, manifest, segment, kind, data, record)
        built += 1
        log.info("index built", extra={"gallery": name, "kind": kind, "items": segment.item_count})
        _forget_if_gone(store, manifest, segment, kind, record.partition)
    return built


def _built(segment: Segment, kind: BuiltKind, rows: NDArray[np.float32]) -> tuple[bytes, IndexRecord]:
    """An index of Faiss, and its record."""
    started = time.perf_counter()
    made = build(rows, kind)
    record = IndexRecord(
        sha256=hashlib.sha256(made.data).hexdigest(),
        embeddings_sha256=segment.embeddings_sha256,
        item_count=segment.item_count,
        depth=made.depth,
        recall_at_1=round(made.recall_at_1, 4),
        queries=made.queries,
        build_s=round(time.perf_counter() - started, 2),
        size_bytes=len(made.data),
        built_at=str(isoformat(time.time())),
    )
    return made.data, record


def _forget_if_gone(
    store: GalleryStore, manifest: GalleryManifest, segment: Segment, kind: BuiltKind, partition: str
) -> None:
    """Removes what must not outlast a gallery that was deleted or erased meanwhile."""
    try:
        current = store.manifest(manifest.name)
        kept = {
            one.id
            for version in store.versions(manifest.name)
            for one in store.manifest(manifest.name, version).segments
        }
        gone = current.generation != manifest.generation or segment.id not in kept
    except GalleryNotFound:
        gone = True
    if gone:
        for key in index_keys(manifest.name, manifest.generation, segment.id, kind):
            store.objects.delete(key)
        if partition:
            server = required(store.milvus)
            server.drop_partition(server.collection(manifest.generation), partition)


def main() -> None:
    """Exit status 1 if it could not be done."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m worker.index_builder NAME")
    os.nice(NICENESS)
    try:
        settings = load_settings()
        configure_logging(settings.log)
        objects = open_store(settings.objects, settings.data_dir)
        lock = None if settings.redis_url is None else GalleryLock(open_client(settings))
        store = GalleryStore(objects, lock, open_milvus(settings.milvus))
        build_missing(store, SegmentFiles(store, settings.data_dir / CACHE), sys.argv[1])
    except ServiceError as error:
        raise fatal(error.detail) from None


if __name__ == "__main__":
    main()

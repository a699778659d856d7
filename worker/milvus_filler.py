"""Fills a Milvus server with the segments of a gallery, and finds those that it holds."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from infra.galleries.indexes import IndexRecord, discard
from infra.galleries.milvus_records import new_partition
from infra.jobs.records import isoformat
from models.galleries.built_index import EPSILON, noisy_views
from models.galleries.gallery import faiss_module
from worker.milvus_rows import Filled

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import GalleryManifest, Segment
    from infra.galleries.milvus import MilvusServer
    from infra.galleries.segments import StoredSegment
    from infra.galleries.store import GalleryStore

MEASURED_BY = 64  # queries

log = logging.getLogger(__name__)


def fill(server: MilvusServer, manifest: GalleryManifest, segment: Segment, stored: StoredSegment) -> IndexRecord:
    """Writes the rows of a segment to the server. Returns the record that puts them in force. Raises MilvusUnavailable."""
    started = time.perf_counter()
    partition, collection = new_partition(), server.collection(manifest.generation)
    rows = stored.embeddings
    server.fill(collection, partition, rows.shape[1], stored.items, rows)
    return IndexRecord(
        sha256="",
        embeddings_sha256=segment.embeddings_sha256,
        item_count=segment.item_count,
        depth=1,
        recall_at_1=round(_recall(server, collection, partition, rows), 4),
        queries=min(MEASURED_BY, len(rows)),
        build_s=round(time.perf_counter() - started, 2),
        size_bytes=0,
        built_at=str(isoformat(time.time())),
        partition=partition,
    )


def filled_of(
    store: GalleryStore,
    server: MilvusServer,
    manifest: GalleryManifest,
    records: Sequence[tuple[Segment, IndexRecord]],
    counted: Collection[str] = (),
) -> list[Filled]:
    """Those segments whose rows the server has, all of them. A record whose rows have gone is removed: they come again.

    Partitions in `counted` are known to be whole, and are not counted again.
    Raises MilvusUnavailable, StorageUnavailable.
    """
    found = []
    for segment, record in records:
        if record.partition in counted:
            found.append(Filled(segment, record.partition))
            continue
        there = server.count(server.collection(manifest.generation), [record.partition])
        if there == segment.item_count:
            found.append(Filled(segment, record.partition))
            continue
        log.warning(
            "rows are missing from Milvus, and are written again",
            extra={"gallery": manifest.name, "segment": segment.id, "rows": there, "of": segment.item_count},
        )
        discard(store, manifest, segment, "Milvus")
    return found


def _recall(server: MilvusServer, collection: str, partition: str, rows: NDArray[np.float32]) -> float:
    """How often the server's nearest row is the nearest: by noisy views of stored rows."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(rows), min(MEASURED_BY, len(rows)), replace=False))
    queries = noisy_views(np.ascontiguousarray(rows[chosen], np.float32), rng)
    faiss = faiss_module()
    best = faiss.knn(queries, rows, 1, metric=faiss.METRIC_INNER_PRODUCT)[0][:, 0]
    found = server.search(collection, [partition], queries, 1)
    values = [float(rows[near[0].row] @ query) if near else -1.0 for near, query in zip(found, queries, strict=True)]
    return float(np.mean(np.asarray(values) >= best - EPSILON))

"""The items of a version that are most similar to one of them, by the embeddings that it keeps: exact, on every kind of index.

Embeddings are mapped or read a segment at a time, so that no more than one segment of a large gallery is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contracts.filters import meets
from infra.errors.galleries import ItemNotFound
from infra.galleries.lookup import living_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from infra.galleries.files import GalleryManifest, Item
    from infra.galleries.reader import GalleryReader
    from infra.galleries.segments import SegmentFiles, StoredSegment


@dataclass(frozen=True)
class Similar:
    """The most similar items with their inner products, best first, of `total` that were compared."""

    items: tuple[tuple[Item, float], ...]
    total: int


def similar_items(
    reader: GalleryReader,
    files: SegmentFiles,
    manifest: GalleryManifest,
    item_id: str,
    most: int,
    *,
    label: str | None = None,
    filters: Sequence[Filter] = (),
) -> Similar:
    """At most `most` items like the one of this id, which is not among them; of one `label`, or with metadata, alone.

    Raises ItemNotFound, ObjectNotFound if the version has gone, GalleryCorrupt, StorageUnavailable.
    """
    place, own = _place(reader, manifest, item_id)
    query = files.segment(manifest, manifest.segments[place]).embeddings[own].astype(np.float32)
    return nearest_items(files, manifest, query, most, label=label, filters=filters, without=(place, own))


def nearest_items(
    files: SegmentFiles,
    manifest: GalleryManifest,
    query: NDArray[np.float32],
    most: int,
    *,
    label: str | None = None,
    filters: Sequence[Filter] = (),
    without: tuple[int, int] | None = None,
) -> Similar:
    """The items nearest to an embedding `query` (D,) of the version's embedder. `without`: one segment's row that is left out."""
    best: list[tuple[float, int, int, Item]] = []  # similarity, and where it stands
    total = 0
    for at, segment in enumerate(manifest.segments):
        stored = files.segment(manifest, segment)
        rows = _wanted(stored, segment.removed, label, filters)
        if without is not None and at == without[0]:
            rows = rows[rows != without[1]]
        total += len(rows)
        if not len(rows):
            continue
        every = len(rows) == len(stored.items)
        values = (stored.embeddings if every else stored.embeddings[rows]) @ query
        nearest = np.argsort(-values, kind="stable")[:most]
        best += [(float(values[one]), at, int(rows[one]), stored.items[int(rows[one])]) for one in nearest]
        best = sorted(best, key=lambda found: (-found[0], found[1], found[2]))[:most]
    return Similar(tuple((item, value) for value, _, _, item in best), total)


def _place(reader: GalleryReader, manifest: GalleryManifest, item_id: str) -> tuple[int, int]:
    """The segment and the row of an item. Raises ItemNotFound."""
    for at, segment in enumerate(manifest.segments):
        row = int(living_rows(reader, manifest, segment, [item_id])[0])
        if row >= 0:
            return at, row
    raise ItemNotFound(f"The gallery {manifest.name!r} has no item {item_id!r}.")


def _wanted(
    stored: StoredSegment, removed: Sequence[str], label: str | None, filters: Sequence[Filter]
) -> NDArray[np.int64]:
    """The rows that are compared, ascending."""
    alive = stored.alive(removed)
    rows = np.arange(len(stored.items)) if label is None else np.sort(stored.keys.rows_of_label(label))
    if alive is not None:
        rows = rows[alive[rows]]
    if filters:
        met = [row for row in rows.tolist() if meets(stored.items[row].metadata, filters)]
        rows = np.array(met, np.int64)
    return rows.astype(np.int64)

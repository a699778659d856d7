"""Which items of a version have certain ids or labels: by the keys of its segments, without reading all of its items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import GalleryManifest, Item, Segment
    from infra.galleries.reader import GalleryReader


@dataclass(frozen=True)
class FoundInSegment:
    """The `ids` of a segment's living items that were looked for, in the order of its rows, and which of the `labels` it has."""

    segment: Segment
    ids: tuple[str, ...]
    labels: tuple[str, ...]


def known(reader: GalleryReader, manifest: GalleryManifest, ids: Collection[str]) -> set[str]:
    """Those of the ids that living items have, or had if their labels had always been readable. Raises ObjectNotFound if the version has gone."""
    wanted = list(dict.fromkeys(ids))
    found: set[str] = set()
    for segment in manifest.segments:
        rows = living_rows(reader, manifest, segment, wanted, by_content=True)
        found.update(wanted[at] for at in np.flatnonzero(rows >= 0))
    return found


def find(reader: GalleryReader, manifest: GalleryManifest, ids: Collection[str]) -> dict[str, Item]:
    """The living items that have these ids. Of segments without any nothing is read. Raises ObjectNotFound if the version has gone."""
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Item] = {}
    for segment in manifest.segments:
        rows = living_rows(reader, manifest, segment, wanted)
        if (rows >= 0).any():
            items = reader.segment_items_at(manifest, segment, rows[rows >= 0].tolist())
            found.update((item.id, item) for item in items)
    return found


def in_segment(
    reader: GalleryReader, manifest: GalleryManifest, segment: Segment, ids: Collection[str], labels: Collection[str]
) -> FoundInSegment:
    """The living items of a segment that have one of these ids or labels. Raises ObjectNotFound if the version has gone."""
    wanted = list(dict.fromkeys(ids))
    rows = living_rows(reader, manifest, segment, wanted)
    by_row = {row: wanted[at] for at, row in enumerate(rows.tolist()) if row >= 0}
    keys = reader.item_keys(manifest, segment)
    alive = _alive(reader, manifest, segment)
    there = []
    more: list[NDArray[np.int64]] = []
    for label in dict.fromkeys(labels):
        of_label = keys.rows_of_label(label)
        of_label = of_label if alive is None else of_label[alive[of_label]]
        if len(of_label):
            there.append(label)
            more.append(of_label)
    if more:
        together = np.unique(np.concatenate(more))
        by_row |= zip(together.tolist(), _ids_of(reader, manifest, segment, together), strict=True)
    return FoundInSegment(segment, tuple(by_row[row] for row in sorted(by_row)), tuple(there))


def count_labels(reader: GalleryReader, manifest: GalleryManifest, most: int) -> int:
    """How many labels the living items have, or `most` if there are more. Raises ObjectNotFound if the version has gone."""
    found: set[bytes] = set()
    for segment in manifest.segments:
        found |= reader.item_keys(manifest, segment).some_labels(most, _alive(reader, manifest, segment))
        if len(found) >= most:
            return most
    return len(found)


def living_rows(
    reader: GalleryReader, manifest: GalleryManifest, segment: Segment, ids: Sequence[str], *, by_content: bool = False
) -> NDArray[np.int64]:
    """(K,): the rows of the items with these ids that were not removed, -1 for the others; see ItemKeys.rows_of."""
    rows = reader.item_keys(manifest, segment).rows_of(ids, by_content=by_content)
    alive = _alive(reader, manifest, segment) if (rows >= 0).any() else None
    if alive is not None:
        rows[(rows >= 0) & ~alive[rows]] = -1
    return rows


def _alive(reader: GalleryReader, manifest: GalleryManifest, segment: Segment) -> NDArray[np.bool_] | None:
    if not segment.removed:
        return None
    alive = np.ones(segment.item_count, bool)
    gone = reader.item_keys(manifest, segment).rows_of(segment.removed)
    alive[gone[gone >= 0]] = False
    return alive


def _ids_of(
    reader: GalleryReader, manifest: GalleryManifest, segment: Segment, rows: NDArray[np.int64]
) -> Sequence[str]:
    """Of these rows, ascending."""
    by_keys = reader.item_keys(manifest, segment).ids_of(rows)
    if by_keys is not None:
        return by_keys
    return [item.id for item in reader.segment_items_at(manifest, segment, rows.tolist())]

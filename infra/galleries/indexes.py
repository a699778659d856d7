"""The indexes that were built for a gallery's segments: which are due, where they are, and how well they find.

An index belongs to one segment, whose files never change: what is added later is another segment, and what is removed is
masked by whoever searches. The record is written after the index and names its hash, so a builder that dies leaves
nothing that anybody reads; until there is a record, the segment is searched exactly. What no kept version needs is
removed with its segment. An index of the kind "Milvus" is a partition on that server (infra.galleries.milvus): it has a
record alone, which names the partition.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from contracts.indexes import choice_of, is_used, kind_of, name_of
from infra.errors.galleries import GalleryCorrupt
from infra.errors.photos import ObjectNotFound
from infra.galleries.keys import index_keys

if TYPE_CHECKING:
    from contracts.indexes import BuiltKind, GalleryIndex
    from infra.galleries.files import GalleryManifest, Segment
    from infra.galleries.reader import GalleryReader

SCHEMA = 1


@dataclass(frozen=True)
class IndexRecord:
    """What is known of a built index. `depth`: how many candidates it returns; `partition`: of Milvus, where the rows are."""

    sha256: str
    embeddings_sha256: str  # of the rows that it was built from
    item_count: int
    depth: int
    recall_at_1: float
    queries: int  # that the recall was measured by
    build_s: float
    size_bytes: int
    built_at: str
    partition: str = ""


def due(manifest: GalleryManifest) -> list[tuple[Segment, BuiltKind]]:
    """The segments of a version that are to have an index, and of which kind."""
    choice = choice_of(manifest.index)
    kinds = [
        (segment, kind_of(choice, manifest.dim, manifest.item_count, segment.live_count))
        for segment in manifest.segments
    ]
    return [(segment, kind) for segment, kind in kinds if kind is not None]


def read_record(
    store: GalleryReader, manifest: GalleryManifest, segment: Segment, kind: BuiltKind
) -> IndexRecord | None:
    """The record of a segment's index; None until it is built, and for one that can't be read. Raises StorageUnavailable."""
    try:
        data = store.objects.get(index_keys(manifest.name, manifest.generation, segment.id, kind)[1])
    except ObjectNotFound:
        return None
    try:
        found = json.loads(data)
        if found["schema"] != SCHEMA:
            return None
        found.setdefault("partition", "")  # records from before there was Milvus lack it
        record = IndexRecord(**{one.name: found[one.name] for one in fields(IndexRecord)})
    except (ValueError, KeyError, TypeError):
        return None
    return record if record.embeddings_sha256 == segment.embeddings_sha256 else None


def read_index(
    store: GalleryReader, manifest: GalleryManifest, segment: Segment, kind: BuiltKind, record: IndexRecord
) -> bytes:
    """The index itself. Raises ObjectNotFound, and GalleryCorrupt where it is not what the record says."""
    data = store.objects.get(index_keys(manifest.name, manifest.generation, segment.id, kind)[0])
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise GalleryCorrupt(f"An index of the gallery {manifest.name!r} is not what its record says.")
    return data


def publish(
    store: GalleryReader,
    manifest: GalleryManifest,
    segment: Segment,
    kind: BuiltKind,
    data: bytes | None,
    record: IndexRecord,
) -> None:
    """Puts a built index in force: from now on whoever loads the segment searches by it. No `data`: it is on a server."""
    index_key, record_key = index_keys(manifest.name, manifest.generation, segment.id, kind)
    if data is not None:
        store.objects.put(index_key, data)
    store.objects.put(record_key, (json.dumps({"schema": SCHEMA, **asdict(record)}) + "\n").encode())


def discard(store: GalleryReader, manifest: GalleryManifest, segment: Segment, kind: BuiltKind) -> None:
    """Takes an index out of force, as one that is damaged; it is built again."""
    for key in reversed(index_keys(manifest.name, manifest.generation, segment.id, kind)):
        store.objects.delete(key)


def described(store: GalleryReader, manifest: GalleryManifest) -> GalleryIndex:
    """How a version is searched, as JSON."""
    choice = choice_of(manifest.index)
    chosen: dict[str, Any] = {"index_method": choice.index_method, "dist_type": choice.dist_type}
    if choice.fuse:
        chosen |= {"fuse": True, **({} if choice.fuse_by is None else {"fuse_by": choice.fuse_by})}
    if choice.binary:
        ranked = f",R{choice.rerank}" if choice.rerank else ""
        chosen |= {"rerank": choice.rerank, "in_use": choice.binary_kind + ranked, "state": "exact"}
        return {**chosen, "indexed_items": 0, "recall_at_1": None, "build_s": 0.0, "size_bytes": 0}  # type: ignore[typeddict-item]  # the rest is in `chosen`
    wanted = due(manifest)
    found = [(segment, kind, read_record(store, manifest, segment, kind)) for segment, kind in wanted]
    used = [(segment, kind, one) for segment, kind, one in found if one and is_used(choice, one.recall_at_1)]
    indexed = sum(segment.live_count for segment, _, _ in used)
    missed = sum(segment.live_count * (1 - one.recall_at_1) for segment, _, one in used)
    building = any(one is None for _, _, one in found)
    return {
        **chosen,  # type: ignore[typeddict-item]  # it has what was chosen
        "in_use": name_of(used[0][1], manifest.dim or 0) if used else "Flat",
        "state": "building" if building else "built" if used else "exact",
        "indexed_items": indexed,
        "recall_at_1": round(1 - missed / manifest.item_count, 4) if manifest.item_count else 1.0,
        "build_s": round(sum(one.build_s for _, _, one in used), 2),
        "size_bytes": sum(one.size_bytes for _, _, one in used),
    }

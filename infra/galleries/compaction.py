"""Joins large files of a gallery while others write it: nobody waits for the reading and writing of many items.

The joined file is made without the right to write. Then the version in force is replaced, under its own number, by one
that names it, with what was removed meanwhile; if other files are in force by then, nothing is changed. Whoever dies on
the way leaves a file that nobody names, which the next join or erasure removes; erasures wait for a join, and a join for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from infra.galleries.files import encode_manifest
from infra.galleries.keys import all_segment_keys, extra_key, manifest_key, segment_keys
from infra.galleries.merges import FEWEST_MERGED, split_for_merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.galleries.files import GalleryManifest, Segment
    from infra.galleries.store import GalleryStore
    from infra.galleries.writer import Writing

JOINED_AT_ONCE = 2500  # items: so many an addition joins itself, in some hundredths of a second


def postponed(segments: Sequence[Segment], merged: Sequence[Segment]) -> tuple[bool, bool]:
    """Whether an addition to these segments leaves those that it would join as they are, and whether it joins them afterwards.

    Of many additions that come while files are joined only every eighth begins to join them too.
    """
    late = sum(segment.live_count for segment in merged) > JOINED_AT_ONCE
    return late, late and len(segments) % FEWEST_MERGED == 0


def compact(store: GalleryStore, name: str, most_with_features: int) -> GalleryManifest | None:
    """The version in force with fewer, larger files; None if that could not be, or need not.

    Raises GalleryNotFound, GalleryCorrupt, GalleryBusy, StorageUnavailable, ObjectNotFound if its files went meanwhile.
    """
    with store._joining(name) as check:
        base = store.manifest(name)
        merged = _merged(base)
        if not merged:
            return None
        with store._writing(name) as writing:
            token = writing.hold.token  # no other writer's file has the same name
        part = replace(base, segments=merged)
        rows = store._searched_rows(part, base.dim or 0)
        if base.item_count <= most_with_features:
            rows = replace(rows, features=store._segment_features(part))
        items = store._segment_items(part)
        check()
        joined = store._write_segment(replace(base, token=token), items, rows)
        with store._writing(name) as writing:
            manifest = _replaced(store, base, merged, joined, writing)
            if manifest is None:
                for key in all_segment_keys(name, base.generation, joined):
                    store.objects.delete(key)
            return manifest


def _merged(base: GalleryManifest) -> tuple[Segment, ...]:
    """The segments that are joined: as the addition of the last one would have joined them, with this one."""
    if not base.segments:
        return ()
    merged = split_for_merge(base.segments[:-1], base.segments[-1].live_count)[1]
    return (*merged, base.segments[-1]) if merged else ()


def _replaced(
    store: GalleryStore, base: GalleryManifest, merged: Sequence[Segment], joined: Segment, writing: Writing
) -> GalleryManifest | None:
    """The version in force, written again with `joined`; None if it is of other files."""
    name = base.name
    if writing.pointer is None or writing.pointer.generation != base.generation:
        return None
    pointer, now = store._base(name, writing)
    segments = _with_joined(now.segments, merged, joined)
    if segments is None or not _is_there(store, base, joined):
        return None
    manifest = replace(now, token=writing.hold.token, segments=segments)
    store.objects.put(manifest_key(name, manifest.generation, manifest.id), encode_manifest(manifest))
    store._point(name, writing, pointer.renamed({now.id: manifest.id}, manifest.token))
    store._prune(name, manifest.token)
    return manifest


def _with_joined(now: Sequence[Segment], merged: Sequence[Segment], joined: Segment) -> tuple[Segment, ...] | None:
    """The segments now in force with `joined` in the place of those that it was made of; None: they are others."""
    ids = [segment.id for segment in now]
    if merged[0].id not in ids:
        return None
    first = ids.index(merged[0].id)
    there = now[first : first + len(merged)]
    removed: list[str] = []
    for before, after in zip(merged, there, strict=False):
        if before.id != after.id or before.items_sha256 != after.items_sha256:
            return None
        if not set(before.removed) <= set(after.removed):
            return None  # an earlier version is in force, in which they are not removed
        removed += set(after.removed) - set(before.removed)
    if len(there) < len(merged):
        return None
    return (*now[:first], replace(joined, removed=tuple(sorted(removed))), *now[first + len(merged) :])


def _is_there(store: GalleryStore, manifest: GalleryManifest, segment: Segment) -> bool:
    """Whether all files of the segment are: another writer may have taken them for what a dead one left."""
    keys = [*segment_keys(manifest.name, manifest.generation, segment.id)]
    keys += [extra_key(manifest.name, manifest.generation, segment.id, kind) for kind in segment.files]
    return all(store.objects.exists(key) for key in keys)

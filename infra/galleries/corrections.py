"""Corrections of a gallery: items under another label, labels merged, items moved to another gallery.

Nothing is embedded again: an item takes its embedding, view and features along. Each change is one new version (a move: one of
each gallery), so that the version before can be activated again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from contracts.names import readable_label
from infra.errors.galleries import EmbedderMismatch, ItemNotFound, LabelExists
from infra.errors.requests import InvalidRequest
from infra.errors.service import StorageUnavailable
from infra.galleries.calibration import carried, fitted, is_due
from infra.galleries.files import Item, check_name, item_id
from infra.galleries.merges import split_for_merge
from infra.galleries.reader import READ_ATTEMPTS
from infra.galleries.rows import Rows
from infra.galleries.stand_ins import without
from infra.galleries.store import MOST_WITH_FEATURES, require_present
from infra.runtime import audit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from infra.galleries.calibration import Calibrate
    from infra.galleries.files import Box, GalleryManifest, Pointer, Segment
    from infra.galleries.locks import Hold
    from infra.galleries.store import Added, GalleryStore

    Live = list[tuple[Segment, tuple[Item, ...]]]  # segments with the items in them that were not removed


@dataclass(frozen=True)
class Renamed:
    """The version in force after it; `changed` has the old and the new id of each item that bears the label now.

    `duplicates` of them were there under the new label already, and are one with those now.
    """

    manifest: GalleryManifest
    changed: dict[str, str]
    duplicates: int


@dataclass(frozen=True)
class Moved:
    """The versions in force after it: of the gallery that gave, and of the one that took."""

    source: GalleryManifest
    target: GalleryManifest
    moved: int
    duplicates: int  # of `moved`: the target had them already


def rename_item(store: GalleryStore, name: str, item: str, label: str, calibrate: Calibrate | None = None) -> Renamed:
    """A new version with one item under another label, be there such a label or not. Raises ItemNotFound.

    Its id changes, for it follows from the content. `label` is clean (contracts.names); `calibrate` as in GalleryStore.add.
    """
    return _rename(store, name, label, {item}, (), merge=True, calibrate=calibrate)


def rename_labels(
    store: GalleryStore,
    name: str,
    labels: Collection[str],
    label: str,
    *,
    merge: bool = False,
    calibrate: Calibrate | None = None,
) -> Renamed:
    """A new version with all items of `labels` under `label`.

    Raises ItemNotFound if one of `labels` is not there, LabelExists if that would make several labels one without `merge`.
    """
    return _rename(store, name, label, (), [readable_label(one) for one in labels], merge=merge, calibrate=calibrate)


def move(
    store: GalleryStore,
    source: str,
    target: str,
    item_ids: Collection[str] = (),
    labels: Collection[str] = (),
    calibrate: Calibrate | None = None,
) -> Moved:
    """Items of one gallery go to another: first they are added there, then removed here.

    Whoever dies in between leaves them in both; doing it again ends it, and what was there already is no second item.
    Raises ItemNotFound, EmbedderMismatch, InvalidRequest for one and the same gallery, before anything is changed.
    """
    if check_name(source) == check_name(target):
        detail = f"the items of {source!r} are there already; name another gallery"
        raise InvalidRequest(f"to: {detail}", errors=[{"pointer": "/to", "detail": detail}])
    there = store.manifest(target)
    wanted = [readable_label(label) for label in labels]

    def read(manifest: GalleryManifest) -> tuple[GalleryManifest, list[Item], Rows]:
        live = _live(store, manifest)
        chosen = _chosen(source, live, item_ids, wanted)
        return manifest, *_taken(store, manifest, live, chosen)

    manifest, items, rows = store._whole(source, None, read)
    if there.embedder_digest not in (None, manifest.embedder_digest):
        raise EmbedderMismatch(
            f"The gallery {target!r} was made with another embedder than {source!r}; embeddings of different models never mix."
        )
    contents = [replace(item, id=item_id(item.sha256, item.label, item.box)) for item in items]  # of older labels, too
    digest = manifest.embedder_digest or ""
    added = store.add(target, contents, rows.embeddings, digest, rows.views, rows.features or None, calibrate)
    left = _discard(store, source, {item.id for item in items}, calibrate)
    return Moved(left, added.manifest, len(items), len(added.duplicate_ids))


def bring_back(
    store: GalleryStore,
    name: str,
    version: int,
    item_ids: Collection[str] = (),
    labels: Collection[str] = (),
    calibrate: Calibrate | None = None,
) -> Added:
    """Items of a kept version, or those of labels, in a new version of the one in force: what was removed since, and all that came is kept.

    With what is stored of them; what is there is left as it is. Raises VersionNotFound, ItemNotFound for the first that the
    version does not have, EmbedderMismatch if that is of another embedder than what is in force.
    """
    wanted = [readable_label(label) for label in labels]

    def read(manifest: GalleryManifest) -> tuple[GalleryManifest, list[Item], Rows]:
        live = _live(store, manifest)
        return manifest, *_taken(store, manifest, live, _chosen(name, live, item_ids, wanted))

    manifest, items, rows = store._whole(name, version, read)
    digest = manifest.embedder_digest or ""
    return store.add(name, items, rows.embeddings, digest, rows.views, rows.features or None, calibrate)


def _discard(store: GalleryStore, name: str, ids: set[str], calibrate: Calibrate | None) -> GalleryManifest:
    """The version without those of the items that are still there: another writer may have taken some meanwhile."""
    for _ in range(READ_ATTEMPTS):
        present = {item.id for item in store.items(name)} & ids
        if not present:
            return store.manifest(name)
        try:
            return store.remove(name, present, calibrate=calibrate)
        except ItemNotFound:
            continue
    raise StorageUnavailable(f"The gallery {name!r} changes faster than it can be read.")


def _rename(
    store: GalleryStore,
    name: str,
    label: str,
    item_ids: Collection[str],
    labels: Sequence[str],
    *,
    merge: bool,
    calibrate: Calibrate | None,
) -> Renamed:
    with store._writing(name) as writing:
        pointer, base = store._base(name, writing)
        live = _live(store, base)
        chosen = _chosen(name, live, item_ids, labels)
        present = [item for _, items in live for item in items]
        others = [item for item in present if item.id not in chosen]
        joins = any(item.label == label for item in others)
        if not merge and (joins or len(set(labels)) > 1):
            report = (
                f"In the gallery {name!r} several labels would become one, {label!r}. If that is meant, send"
                ' "merge": true; on the command line use `shitu gallery merge`.'
            )
            raise LabelExists(report)
        gone = {item.id for item in present if item.id in chosen and item.label != label}
        changed = {one: one for one in chosen - gone}
        if not gone:
            return Renamed(base, changed, 0)
        taken, rows = _taken(store, base, live, gone)
        known = {_content(item): item.id for item in present if item.id not in gone}
        fresh: dict[int, Item] = {}
        for row, item in enumerate(taken):
            new = replace(item, label=label, id=item_id(item.sha256, label, item.box))
            if _content(new) not in known:
                fresh[row] = new
            changed[item.id] = known.setdefault(_content(new), new.id)
        change = _Change(gone, list(fresh.values()), rows.take(list(fresh)), 0 if labels and not merge else len(gone))
        manifest, merged = _changed(store, pointer, base, writing.hold, live, change, calibrate)
        store._publish(name, writing, manifest, removes=True)
        audit.gallery_changed("renamed", name, base.version, manifest.version, items=len(gone), label=label)
        if merged:
            store._prune(name, manifest.token)
        return Renamed(manifest, changed, len(taken) - len(fresh))


@dataclass(frozen=True)
class _Change:
    """Items that go, and those that come with their rows; `relabelled`: how many the calibration no longer speaks of."""

    gone: set[str]
    fresh: list[Item]
    rows: Rows
    relabelled: int


def _changed(
    store: GalleryStore,
    pointer: Pointer,
    base: GalleryManifest,
    hold: Hold,
    live: Live,
    change: _Change,
    calibrate: Calibrate | None,
) -> tuple[GalleryManifest, bool]:
    """The next version, its segment written, and whether older segments were joined with that. Nobody sees it yet."""
    kept = [item for _, items in live for item in items if item.id not in change.gone]
    left = without(live, change.gone)
    manifest = replace(store._next(pointer, base, hold), segments=left, item_count=len(kept) + len(change.fresh))
    items = (*kept, *change.fresh)
    if change.relabelled:  # a label that only has another name is as likely as before
        manifest = carried(base, manifest, len({item.label for item in items}), change.relabelled)
        if calibrate is not None and is_due(manifest):
            whole = store._searched_rows(manifest, base.dim or 0) + replace(change.rows, features=())
            manifest = fitted(manifest, calibrate, items, whole)
    if not change.fresh:
        return manifest, False
    fresh, rows = change.fresh, change.rows
    featured = manifest.item_count <= MOST_WITH_FEATURES
    if not featured:
        rows = replace(rows, features=())
    segments, merged = split_for_merge(left, len(fresh))
    if merged:
        part = replace(base, segments=merged)
        stored = store._searched_rows(part, base.dim or 0)
        stored = replace(stored, features=store._segment_features(part) if featured else ())
        fresh, rows = [*kept[len(kept) - sum(one.live_count for one in merged) :], *fresh], stored + rows
    segment = store._write_segment(manifest, fresh, rows)
    return replace(manifest, segments=(*segments, segment)), bool(merged)


def _live(store: GalleryStore, manifest: GalleryManifest) -> Live:
    return [(segment, store._live_items(manifest, segment)) for segment in manifest.segments]


def _chosen(name: str, live: Live, item_ids: Collection[str], labels: Collection[str]) -> set[str]:
    """The ids of those items and of all items of those labels. Raises ItemNotFound for the first that is not there."""
    present = {item.id: item.label for _, items in live for item in items}
    require_present(name, item_ids, set(present), "item")
    require_present(name, labels, set(present.values()), "item of the label")
    ids, those = set(item_ids), set(labels)
    return {one for one, label in present.items() if one in ids or label in those}


def _taken(store: GalleryStore, manifest: GalleryManifest, live: Live, chosen: set[str]) -> tuple[list[Item], Rows]:
    """The chosen items with what is stored of each; only the segments that have some are read."""
    some = [(segment, items) for segment, items in live if any(item.id in chosen for item in items)]
    part = replace(manifest, segments=tuple(segment for segment, _ in some))
    items = [item for _, found in some for item in found]
    rows = store._searched_rows(part, manifest.dim or 0)
    rows = replace(rows, features=store._segment_features(part))
    places = [place for place, item in enumerate(items) if item.id in chosen]
    return [items[place] for place in places], rows.take(places)


def _content(item: Item) -> tuple[str, str, Box | None]:
    """What makes two items the same; an older label's id is another."""
    return item.sha256, item.label, item.box

"""When a gallery's calibration is made again, when it is carried on, and when it no longer says anything of its items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from contracts.indexes import choice_of, things_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.files import GalleryManifest, Item
    from infra.galleries.rows import Rows

ALWAYS_BELOW = 5000  # items: a larger gallery is read whole and fitted again only when it changed by CHANGED
CHANGED = 0.05
MOST_FITTED = 1_000_000  # items: a fit reads all of their embeddings at once
FEWEST_ITEMS, FEWEST_LABELS = 20, 3  # with less a fit is not made, and an earlier one holds no longer


class Calibrate(Protocol):
    """Fits the probabilities of a whole version: JSON for its manifest, or None."""

    def __call__(
        self,
        labels: Sequence[str],
        embeddings: NDArray[np.float32],
        views: NDArray[np.float32] | None,
        things: Sequence[int] | None,
        /,
    ) -> dict[str, Any] | None:
        """Of N items: labels, embeddings (N, D), views (N, D; None: no item has one), and where the gallery fuses its
        pictures the number of the thing that each shows (contracts.indexes.things_of)."""


def is_due(manifest: GalleryManifest) -> bool:
    """Whether the calibration of a changed version is to be fitted again, by whoever can."""
    fitted = manifest.calibrated_items
    if manifest.item_count > MOST_FITTED:
        return False
    if not fitted or manifest.item_count < ALWAYS_BELOW:
        return True
    added = manifest.item_count - fitted + manifest.removed_since
    return added + manifest.removed_since >= CHANGED * fitted


def fitted(manifest: GalleryManifest, calibrate: Calibrate, items: Sequence[Item], rows: Rows) -> GalleryManifest:
    """`manifest` with what `calibrate` makes of all of its items and their rows."""
    things = things_of(choice_of(manifest.index), items)
    calibration = calibrate([item.label for item in items], rows.embeddings, rows.views, things)
    return replace(manifest, calibration=calibration, calibrated_items=manifest.item_count, removed_since=0)


def unfitted(manifest: GalleryManifest) -> GalleryManifest:
    """`manifest` without a calibration of its own, to be fitted by its next change."""
    return replace(manifest, calibration=None, calibrated_items=0, removed_since=0)


def fused_otherwise(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    """Whether scores under two choices of an index are those of other vectors, which no calibration is for both."""
    one, other = choice_of(before), choice_of(after)
    return (one.fuse, one.fuse_by) != (other.fuse, other.fuse_by)


def carried(base: GalleryManifest, manifest: GalleryManifest, labels: int, relabelled: int = 0) -> GalleryManifest:
    """`manifest`, made of `base` by removing items, so that so many `labels` are left: with its calibration, or without.

    An item that went to another label counts as one removed and one added.

    It is dropped where too little is left, or more was removed than half of what it was fitted to: the embedder's counts.
    """
    known = base.calibrated_items or (base.item_count if base.calibration is not None else 0)
    removed = base.removed_since + relabelled + base.item_count - manifest.item_count
    if manifest.item_count < FEWEST_ITEMS or labels < FEWEST_LABELS or 2 * removed > known:
        return unfitted(manifest)
    return replace(manifest, calibrated_items=known, removed_since=removed)

"""When a gallery's calibration is made anew, when it is carried on, and when it no longer says anything of its items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.files import GalleryManifest

    # labels, embeddings (N, D), views (N, D; None: no item has one) of a whole version -> JSON for its manifest, or None
    Calibrate = Callable[[Sequence[str], NDArray[np.float32], NDArray[np.float32] | None], dict[str, Any] | None]

ALWAYS_BELOW = 5000  # items: a larger gallery is read whole and fitted anew only when it changed by CHANGED
CHANGED = 0.05
FEWEST_ITEMS, FEWEST_LABELS = 20, 3  # with less a fit is not made, and an earlier one holds no longer


def is_due(manifest: GalleryManifest) -> bool:
    """Whether the calibration of a changed version is to be fitted anew, by whoever can."""
    fitted = manifest.calibrated_items
    if not fitted or manifest.item_count < ALWAYS_BELOW:
        return True
    added = manifest.item_count - fitted + manifest.removed_since
    return added + manifest.removed_since >= CHANGED * fitted


def fitted(manifest: GalleryManifest, calibration: dict[str, Any] | None) -> GalleryManifest:
    """`manifest` with what was fitted to all of its items."""
    return replace(manifest, calibration=calibration, calibrated_items=manifest.item_count, removed_since=0)


def carried(base: GalleryManifest, manifest: GalleryManifest, labels: int, relabelled: int = 0) -> GalleryManifest:
    """`manifest`, made of `base` by removing items, so that so many `labels` are left: with its calibration, or without.

    An item that went to another label counts as one removed and one added.

    It is dropped where too little is left, or more was removed than half of what it was fitted to: the embedder's counts.
    """
    known = base.calibrated_items or (base.item_count if base.calibration is not None else 0)
    removed = base.removed_since + relabelled + base.item_count - manifest.item_count
    if manifest.item_count < FEWEST_ITEMS or labels < FEWEST_LABELS or 2 * removed > known:
        return replace(manifest, calibration=None, calibrated_items=0, removed_since=0)
    return replace(manifest, calibrated_items=known, removed_since=removed)

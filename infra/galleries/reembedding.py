"""A version of a gallery with the embeddings of another embedder: staged, of the same items as the one in force.

Items keep their ids, labels, metadata and local features; embeddings, views and the fit of the probabilities are new.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from infra.galleries.calibration import fitted, unfitted
from infra.galleries.rows import Rows
from infra.galleries.store import MOST_WITH_FEATURES
from infra.runtime import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.calibration import Calibrate
    from infra.galleries.files import GalleryManifest
    from infra.galleries.store import GalleryStore


def stage_reembedded(
    store: GalleryStore,
    base: GalleryManifest,
    places: Mapping[str, int],
    embeddings: NDArray[np.float32],
    views: NDArray[np.float32],
    embedder_digest: str,
    calibrate: Calibrate | None,
    made_by: str,
) -> GalleryManifest | None:
    """The staged version, made of `base`; None, and nothing is made, if another version is in force by now.

    `places` has the row of `embeddings` (N, D) and `views` (N, D; zeros: none) of each item that stays, by its id: items
    without one are left out. `calibrate` and `made_by` as in GalleryStore.add. Raises GalleryNotFound, GalleryCorrupt,
    GalleryBusy, StorageUnavailable.
    """
    name = base.name
    with store._writing(name) as writing:
        pointer, current = store._base(name, writing)
        if (current.generation, current.id) != (base.generation, base.id):
            return None
        old = store._segment_items(current)
        stays = [place for place, item in enumerate(old) if item.id in places]
        items = [old[place] for place in stays]
        manifest = replace(
            unfitted(store._next(pointer, current, writing.hold)),
            embedder_digest=embedder_digest,
            dim=embeddings.shape[1] if items else None,
            item_count=len(items),
            segments=(),
            made_by=made_by,
        )
        if items:
            rows = [places[item.id] for item in items]
            features = store._segment_features(current) if len(old) <= MOST_WITH_FEATURES else [b""] * len(old)
            kept = Rows(embeddings[rows], views[rows], [features[place] for place in stays])
            if calibrate is not None:
                manifest = fitted(manifest, calibrate, items, replace(kept, features=()))
            manifest = replace(manifest, segments=(store._write_segment(manifest, items, kept),))
        store._publish(name, writing, manifest, activate=False)
        audit.gallery_changed("staged", name, current.version, manifest.version, items=len(items))
        return manifest

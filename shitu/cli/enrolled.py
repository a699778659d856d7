"""Items with what is kept of each, on their way into a gallery of the store."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from infra.errors.galleries import GalleryExists
from infra.galleries.store import Item, item_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from infra.galleries.store import Added, GalleryStore
    from infra.objects.store import ObjectStore
    from models.embedder import Embedder


@dataclass(frozen=True)
class Enrolled:
    """Items and what is kept of each; an index taken over has neither views nor features."""

    items: Sequence[Item]
    embeddings: NDArray[np.float32]  # (N, D)
    views: NDArray[np.float32] | None = None  # (N, D)
    features: Sequence[bytes] | None = None
    stand_ins: Collection[str] = ()  # as GalleryStore.add


def add_enrolled(store: GalleryStore, name: str, read: Enrolled, network: Embedder) -> Added:
    """Adds the items to a gallery, which is made if there is none, and fits its probabilities."""
    from models.enrolment import calibrator

    with suppress(GalleryExists):
        store.create(name, network.digest)
    return store.add(
        name, read.items, read.embeddings, network.digest, read.views, read.features, calibrator(network),
        stand_ins=read.stand_ins,
    )  # fmt: skip


def stored_item(label: str, data: bytes, objects: ObjectStore) -> Item:
    """The item of a picture, which is put into the store."""
    return item_of(label, hashlib.sha256(data).hexdigest(), objects.put_image(data))


def item_of(label: str, sha256: str, key: str) -> Item:
    """An item of the whole picture, added now."""
    added_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Item(item_id(sha256, label), label, key, sha256, None, added_at)

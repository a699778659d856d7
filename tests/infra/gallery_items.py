"""Items whose embeddings follow from their ids, so that a row at the wrong item is seen; and what a gallery must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.galleries.store import Added, GalleryStore, Item, item_id
from infra.objects.local import LocalStore

DIM = 4
DIGEST = "d" * 64


def item(number: int, label: str = "", box: tuple[int, int, int, int] | None = None) -> Item:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    label = label or f"label {number % 3}"
    key = f"images/{sha256[:2]}/{sha256}"
    return Item(item_id(sha256, label, box), label, key, sha256, box, "2026-01-01T00:00:00Z")


def embedding(found: Item) -> NDArray[np.float32]:
    """A unit vector that follows from the item's id, so that a row at the wrong item is seen."""
    row = np.random.default_rng(int(found.id[4:], 16)).normal(size=DIM)
    return np.asarray(row / np.linalg.norm(row), np.float32)


def view(found: Item) -> NDArray[np.float32]:
    """Of most items; the others have none."""
    has_one = int(found.id[-1], 16) % 4
    return -embedding(found) if has_one else np.zeros(DIM, np.float32)


def features(found: Item) -> bytes:
    """Of most items, of different lengths; the others have none."""
    return found.id.encode() * (int(found.id[-2], 16) % 4)


def calibrate(
    labels: Sequence[str],
    embeddings: NDArray[np.float32],
    views: NDArray[np.float32] | None,
    things: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What shows later whether it was given the whole version."""
    assert views is None or views.shape == embeddings.shape
    assert things is None or len(things) == len(labels)
    return {
        **({} if things is None else {"things": list(things)}),
        "labels": sorted(labels),
        "sum": float(np.abs(embeddings).sum()),
    }


def add(store: GalleryStore, name: str, *items: Item, digest: str = DIGEST) -> Added:
    """With views, features and a calibration; some items have none of the former."""
    return store.add(
        name,
        items,
        np.stack([embedding(one) for one in items]),
        digest,
        np.stack([view(one) for one in items]),
        [features(one) for one in items],
        calibrate,
    )


def check(store: GalleryStore, name: str, expected: set[str], version: int | None = None) -> None:
    """The version holds exactly these items, every one with its own embedding, view and features."""
    manifest, items, embeddings = store.load(name, version)
    assert {one.id for one in items} == expected
    assert len(items) == len(expected) == manifest.item_count
    assert embeddings.dtype == np.float32
    assert embeddings.shape[0] == len(items)
    for one, row in zip(items, embeddings, strict=True):
        np.testing.assert_array_equal(row, embedding(one))
    assert store.items(name, version) == items
    views = store.load_views(name, version)
    if views is None:
        views = np.zeros_like(embeddings)
    assert views.shape == embeddings.shape
    for one, row in zip(items, views, strict=True):
        np.testing.assert_allclose(row, view(one), atol=1e-3)  # kept in half precision
    assert store.load_features(name, version) == {one.id: features(one) for one in items if features(one)}


class Remote:
    """A store that is not known to be a folder of this machine, like a bucket."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self.get, self.exists, self.delete = store.get, store.exists, store.delete
        self.put_image, self.delete_idle = store.put_image, store.delete_idle

    def list(self, prefix: str = "") -> Iterator[str]:
        return self._store.list(prefix)

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data)


def prepared(folder: Path, segments: int) -> tuple[LocalStore, set[str]]:
    """A store with the gallery "g" of so many segments of two items, and the ids in it."""
    objects = LocalStore(folder)
    store = GalleryStore(objects)
    store.create("g")
    for number in range(segments):
        add(store, "g", item(number), item(1000 + number))
    return objects, {one.id for one in store.items("g")}

"""Features of gallery items: read from the store, made where it has none, held up to a limit, never a reason to fail."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.galleries.files import encode_items
from infra.galleries.item_keys import ItemKeys, made_keys
from infra.galleries.lines import ItemLines
from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.local import LocalStore
from infra.runtime.settings import ImageSettings
from models.enrolment import packed_features
from models.pictures.image import crop, decode
from models.verification import unpack
from worker.item_features import ENTRY_BYTES, MOST_BYTES, ItemFeatures, VersionFeatures

DIGEST = "d" * 64


class Counting(LocalStore):
    """Counts what is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return super().get(key)

    def reads(self, part: str) -> int:
        return sum(part in key for key in self.read)


@pytest.fixture
def objects(tmp_path: Path) -> Counting:
    return Counting(tmp_path)


@pytest.fixture
def store(objects: Counting) -> GalleryStore:
    store = GalleryStore(objects)
    store.create("g")
    return store


def enrolled(
    store: GalleryStore, objects: Counting, number: int, *, stored: bool, box: tuple[int, int, int, int] | None = None
) -> Item:
    """An item with a picture; `stored`: with its features, as new galleries have them."""
    noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((160, 160), Image.Resampling.BICUBIC).save(buffer, "PNG")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    item = Item(item_id(sha256, "x", box), "x", objects.put_image(data), sha256, box, "2026-01-01T00:00:00Z")
    packed = [packed_features(decode(data))] if stored else None
    store.add("g", [item], np.eye(1, 8, number % 8, dtype=np.float32), DIGEST, features=packed)
    return item


def version(store: GalleryStore, shared: ItemFeatures) -> VersionFeatures:
    return VersionFeatures(shared, store.manifest("g"), store.items("g"))


def held(store: GalleryStore, objects: Counting, limit_bytes: int = 1 << 20) -> ItemFeatures:
    return ItemFeatures(store, objects, ImageSettings(), limit_bytes)


def test_stored_features_are_read_once_for_all_versions(store: GalleryStore, objects: Counting) -> None:
    one = enrolled(store, objects, 1, stored=True)
    shared = held(store, objects)
    for _ in range(2):
        found = version(store, shared)(one.id)
        assert found is not None
        np.testing.assert_array_equal(found.points, unpack(store.load_features("g")[one.id]).points)
    enrolled(store, objects, 2, stored=True)
    objects.read.clear()
    assert version(store, shared)(one.id) is not None
    assert objects.reads(".features.bin") == 0
    assert objects.reads("images/") == 0
    assert version(store, shared)("itm_none") is None


def test_an_older_gallery_has_them_made_from_its_pictures(store: GalleryStore, objects: Counting) -> None:
    whole = enrolled(store, objects, 1, stored=False)
    part = enrolled(store, objects, 2, stored=False, box=(20, 10, 150, 140))
    features = version(store, held(store, objects))
    picture = decode(objects.get(part.image_key))
    objects.read.clear()
    for _ in range(3):
        for item, pixels in (
            (whole, decode(LocalStore.get(objects, whole.image_key))),
            (part, crop(picture, part.box or ())),
        ):
            found = features(item.id)
            assert found is not None
            np.testing.assert_array_equal(found.points, unpack(packed_features(pixels)).points)
    assert objects.reads("images/") == 2  # each once


def test_a_picture_that_is_gone_is_looked_for_once(store: GalleryStore, objects: Counting) -> None:
    item = enrolled(store, objects, 1, stored=False)
    objects.delete(item.image_key)
    features = version(store, held(store, objects))
    assert [features(item.id), features(item.id)] == [None, None]
    assert objects.reads("images/") == 1


def test_what_is_held_is_limited(store: GalleryStore, objects: Counting) -> None:
    items = [enrolled(store, objects, number, stored=False) for number in range(12)]
    shared = held(store, objects, limit_bytes=3 * (MOST_BYTES + 2 * ENTRY_BYTES))
    features = version(store, shared)
    for item in items:
        assert features(item.id) is not None
    assert shared.size_bytes <= 3 * (MOST_BYTES + 2 * ENTRY_BYTES)
    objects.read.clear()
    features(items[-1].id)
    assert objects.reads("images/") == 0
    features(items[0].id)  # went first
    assert objects.reads("images/") == 1


def test_a_gallery_too_large_to_hold_is_not_read_whole(store: GalleryStore, objects: Counting) -> None:
    items = [enrolled(store, objects, number, stored=True) for number in range(3)]
    features = version(store, held(store, objects, limit_bytes=2 * (MOST_BYTES + ENTRY_BYTES)))
    objects.read.clear()
    assert features(items[1].id) is not None
    assert (objects.reads(".features.bin"), objects.reads("images/")) == (0, 1)


def test_an_item_of_a_mapped_file_is_found_without_the_others(
    store: GalleryStore, objects: Counting, tmp_path: Path
) -> None:
    items = [enrolled(store, objects, number, stored=False) for number in range(3)]
    (path, *_) = sorted(tmp_path.glob("galleries/files/g/*/segments/*.jsonl"))
    path.write_bytes(encode_items(items) + b"not an item\n")

    def keys(lines: ItemLines) -> ItemKeys:
        return made_keys(lines[:3])

    mapped = ItemLines(path, 4, "g", keys)
    features = VersionFeatures(held(store, objects), store.manifest("g"), mapped)
    assert features(items[2].id) is not None
    assert features("itm_none") is None


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_damaged_or_missing_file_costs_no_answer(
    store: GalleryStore, objects: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    item = enrolled(store, objects, 1, stored=True)
    (path,) = tmp_path.glob("galleries/files/g/*/segments/*.features.bin")
    if spoil == "change":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert version(store, held(store, objects))(item.id) is not None
    assert ("features are made from pictures instead" in caplog.text) is (spoil == "change")


def test_features_of_another_format_are_none(
    store: GalleryStore, objects: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    item = enrolled(store, objects, 1, stored=False)
    other = Item(item_id(item.sha256, "y"), "y", item.image_key, item.sha256, None, item.added_at)
    store.add("g", [other], np.eye(1, 8, dtype=np.float32), DIGEST, features=[b"of a later version"])
    with caplog.at_level(logging.WARNING):
        assert version(store, held(store, objects))(other.id) is None
    assert "features cannot be read" in caplog.text

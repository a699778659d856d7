"""What is fitted to a gallery: made again, carried on, or dropped when the items that it was fitted to are gone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infra.galleries.calibration import ALWAYS_BELOW, FEWEST_ITEMS, FEWEST_LABELS
from infra.galleries.store import GalleryStore, Item
from infra.objects.local import LocalStore
from models.galleries import calibration
from tests.infra.gallery_items import DIGEST, DIM, Remote, add, calibrate, item


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    made = GalleryStore(LocalStore(tmp_path))
    made.create("g")
    return made


def labelled(count: int) -> list[Item]:
    return [item(number, f"label {number}") for number in range(count)]


def test_what_is_too_small_is_what_the_models_call_so() -> None:
    assert (FEWEST_ITEMS, FEWEST_LABELS) == (calibration.FEWEST_QUERIES, calibration.FEWEST_LABELS)


def test_a_calibration_goes_when_most_of_its_items_are_gone(store: GalleryStore) -> None:
    items = labelled(100)
    fitted = add(store, "g", *items).manifest.calibration
    assert fitted is not None
    assert store.remove("g", labels=[one.label for one in items[1:]]).calibration is None
    store.activate("g", 2)
    assert store.remove("g", labels=[one.label for one in items[:30]]).calibration == fitted
    assert store.remove("g", labels=[one.label for one in items[30:50]]).calibration == fitted  # half is left
    assert store.remove("g", labels=[items[50].label]).calibration is None
    again = add(store, "g", items[0]).manifest.calibration
    assert again is not None
    assert len(again["labels"]) == 50


def test_a_calibration_goes_with_few_labels_or_items(store: GalleryStore) -> None:
    items = [item(number) for number in range(FEWEST_ITEMS + 1)]  # three labels
    fitted = add(store, "g", *items).manifest.calibration
    assert store.remove("g", item_ids=[items[0].id]).calibration == fitted
    assert store.remove("g", item_ids=[items[1].id]).calibration is None
    store.activate("g", 2)
    more = [item(number) for number in range(100, 160)]
    assert add(store, "g", *more).manifest.calibration is not None
    assert store.remove("g", labels=["label 0"]).calibration is None  # two labels are left, of two thirds of the items


def test_a_gallery_too_large_to_be_read_at_once_keeps_its_fit(
    store: GalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = labelled(60)
    fitted = add(store, "g", *items[:40]).manifest.calibration
    monkeypatch.setattr("infra.galleries.calibration.MOST_FITTED", 50)
    assert add(store, "g", *items[40:]).manifest.calibration == fitted


def test_what_an_earlier_version_fitted_goes_too(store: GalleryStore, tmp_path: Path) -> None:
    items = labelled(60)
    fitted = add(store, "g", *items).manifest.calibration
    for path in (tmp_path / "galleries").glob("files/g/*/manifests/*"):
        report = json.loads(path.read_bytes())
        del report["calibrated_items"], report["removed_since"]
        path.write_text(json.dumps(report))
    again = GalleryStore(LocalStore(tmp_path))
    assert again.remove("g", item_ids=[one.id for one in items[:20]]).calibration == fitted
    assert again.remove("g", item_ids=[one.id for one in items[20:31]]).calibration is None


class Counting(Remote):
    """Remembers what was read."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.read: list[str] = []
        self._get = self.get
        self.get = self._counted

    def _counted(self, key: str) -> bytes:
        self.read.append(key)
        return self._get(key)


def test_a_small_change_of_a_large_gallery_reads_no_embeddings(tmp_path: Path) -> None:
    objects = Counting(LocalStore(tmp_path))
    store = GalleryStore(objects)
    store.create("g")
    items = labelled(ALWAYS_BELOW + 500)
    rows = np.tile(np.eye(1, DIM, dtype=np.float32), (len(items), 1))

    def put(first: int, last: int) -> int:
        """How many labels the calibration in force was made of."""
        objects.read.clear()
        part = slice(first, last)
        done = store.add("g", items[part], rows[part], DIGEST, rows[part], None, calibrate)
        assert done.manifest.calibration is not None
        return len(done.manifest.calibration["labels"])

    def read_rows() -> bool:
        return any(key.endswith(".npy") for key in objects.read)

    assert put(0, ALWAYS_BELOW - 20) == ALWAYS_BELOW - 20
    assert put(ALWAYS_BELOW - 20, ALWAYS_BELOW - 1) == ALWAYS_BELOW - 1  # below it every add fits
    assert read_rows()
    assert put(ALWAYS_BELOW - 1, ALWAYS_BELOW + 19) == ALWAYS_BELOW - 1
    assert not read_rows()
    kept = store.remove("g", item_ids=[one.id for one in items[ALWAYS_BELOW : ALWAYS_BELOW + 10]], calibrate=calibrate)
    assert not read_rows()
    assert (kept.calibrated_items, kept.removed_since) == (ALWAYS_BELOW - 1, 10)
    assert put(ALWAYS_BELOW + 19, ALWAYS_BELOW + 229) == ALWAYS_BELOW - 1
    assert put(ALWAYS_BELOW + 229, ALWAYS_BELOW + 249) == ALWAYS_BELOW + 239  # 249 were added, 10 removed
    assert read_rows()

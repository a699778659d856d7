"""The items most like one of them, against a comparison of all with all, over segments, removals, labels and metadata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.errors.galleries import ItemNotFound
from infra.galleries import segments
from infra.galleries.segments import SegmentFiles
from infra.galleries.similar import nearest_items, similar_items
from infra.galleries.store import GalleryStore, Item
from infra.objects.local import LocalStore
from tests.infra.gallery_items import DIGEST, embedding, item


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return GalleryStore(LocalStore(tmp_path / "objects"))


def filled(store: GalleryStore) -> list[Item]:
    """Of several segments, with two items removed."""
    store.create("g")
    items = [replace(item(number), metadata={"half": str(number % 2)}) for number in range(60)]
    for start in range(0, 60, 12):
        some = items[start : start + 12]
        store.add("g", some, np.stack([embedding(one) for one in some]), DIGEST)
    store.remove("g", [items[3].id, items[40].id])
    assert len(store.manifest("g").segments) > 1
    return [one for at, one in enumerate(items) if at not in {3, 40}]


@pytest.mark.parametrize("mapped_from", [1, 10_000], ids=["mapped", "read"])
def test_they_are_those_of_a_comparison_of_all(
    store: GalleryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped_from: int
) -> None:
    monkeypatch.setattr(segments, "MAPPED_FROM", mapped_from)
    items = filled(store)
    files, manifest = SegmentFiles(store, tmp_path / "mapped"), store.manifest("g")
    for label, filters in ((None, ()), ("label 1", ()), (None, (("half", "1"),)), ("label 2", (("half", "0"),))):
        for query in (items[0], items[31]):
            others = [
                one
                for one in items
                if one.id != query.id
                and label in (None, one.label)
                and all(one.metadata[name] == value for name, value in filters)
            ]
            values = {one.id: float(embedding(one) @ embedding(query)) for one in others}
            expected = sorted(values, key=lambda one: -values[one])
            found = similar_items(store, files, manifest, query.id, 9, label=label, filters=filters)
            assert [one.id for one, _ in found.items] == expected[:9]
            assert [value for _, value in found.items] == pytest.approx([values[one] for one in expected[:9]], abs=1e-5)
            assert found.total == len(others)


def test_a_query_finds_its_own_item_first(store: GalleryStore, tmp_path: Path) -> None:
    items = filled(store)
    files, manifest = SegmentFiles(store, tmp_path / "mapped"), store.manifest("g")
    found = nearest_items(files, manifest, embedding(items[20]), 3)
    assert (found.items[0][0].id, found.total) == (items[20].id, 58)
    assert nearest_items(files, manifest, embedding(items[20]), 100).total == 58
    assert len(nearest_items(files, manifest, embedding(items[20]), 100).items) == 58


def test_what_is_not_there_or_removed_is_like_nothing(store: GalleryStore, tmp_path: Path) -> None:
    filled(store)
    files, manifest = SegmentFiles(store, tmp_path / "mapped"), store.manifest("g")
    for gone in (item(3).id, "itm_nothing"):
        with pytest.raises(ItemNotFound, match="has no item"):
            similar_items(store, files, manifest, gone, 5)

"""The same suite for galleries searched by Faiss and by Milvus: their answers are those of an exact search of all items."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.filters import Filter
from contracts.indexes import IndexChoice
from infra.erasure.rows import erase_rows
from infra.galleries import bundles
from infra.galleries.deleted import all_deleted, purge, restore
from infra.galleries.indexes import described
from infra.galleries.milvus_tidy import look_after, tidy
from infra.galleries.store import GalleryStore, Item
from models.galleries.gallery import Found, Gallery
from models.galleries.sourced_gallery import SourcedGallery
from models.vectors import unit_rows
from tests.worker.large import DIM, build, made_items
from worker.gallery_cache import GalleryCache

DIGEST = "d" * 64
NAME = "drinks"

pytestmark = pytest.mark.parametrize("method", ["Flat", "Milvus"])


@pytest.fixture
def gallery(store: GalleryStore, method: str) -> str:
    """A gallery of 220 items of 40 labels, most with metadata, as two segments."""
    store.create(NAME, DIGEST, index=IndexChoice(index_method=method).to_dict())  # type: ignore[arg-type]
    for start in (0, 110):
        items, rows = made_items(110, start)
        store.add(NAME, with_metadata(items), rows, DIGEST)
    return NAME


@pytest.fixture
def fill(store: GalleryStore, cache: GalleryCache, method: str, tmp_path: Path) -> Callable[[], int]:
    """Builds what is missing, as the keeper's builder does; how many it built."""

    def filled() -> int:
        built = build(store, NAME, tmp_path / "files")
        remote = store.manifest(NAME).index == IndexChoice(index_method="Milvus").to_dict()
        assert isinstance(cache.current(NAME).gallery, SourcedGallery) == remote
        return built

    return filled


def with_metadata(items: Sequence[Item]) -> list[Item]:
    return [
        replace(one, metadata={"shelf": str(at % 7), "size": "l"} if at % 5 else {}) for at, one in enumerate(items)
    ]


def exact(store: GalleryStore, version: int | None = None) -> Gallery:
    """What the answers are compared with: all living items in memory."""
    manifest, items, rows = store.load(NAME, version)
    return Gallery(items, rows, NAME, manifest.version)


def queries(count: int = 6) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(99).normal(size=(count, DIM)).astype(np.float32))


def alike(found: Gallery, wanted: Gallery, rows: NDArray[np.float32] | None = None, k: int = 20) -> None:
    """Both say the same of the queries: items, similarities, labels, scores, and numbers of pictures."""
    assert len(found) == len(wanted) == len(found.items)
    rows = queries() if rows is None else rows
    for some, others in zip(found.search_labels(rows, k), wanted.search_labels(rows, k), strict=True):
        assert [one.item for one in some.matches] == [one.item for one in others.matches]
        np.testing.assert_allclose(
            [one.similarity for one in some.matches], [one.similarity for one in others.matches], atol=1e-5
        )
        assert told(found, some) == told(wanted, others)
    for few, many in zip(found.search(rows, 3), wanted.search(rows, 3), strict=True):
        assert [one.item for one in few] == [one.item for one in many]


def told(gallery: Gallery, found: Found) -> list[tuple[str, float, str, float, int]]:
    return [
        (one.label, round(one.score, 4), gallery.nearest_item(one).id, round(one.nearest, 4), one.pictures)
        for one in found.labels
    ]


def test_what_was_added_is_found_at_once_and_the_same_after_it_is_built(
    store: GalleryStore, cache: GalleryCache, gallery: str, method: str, fill: Callable[[], int]
) -> None:
    alike(cache.current(gallery).gallery, exact(store))
    assert fill() == (2 if method == "Milvus" else 0)
    assert fill() == 0
    alike(cache.current(gallery).gallery, exact(store))
    report = described(store, store.manifest(gallery))
    assert (report["index_method"], report["in_use"], report["recall_at_1"]) == (method, method, 1.0)
    assert report["indexed_items"] == (220 if method == "Milvus" else 0)
    items, rows = made_items(3, 900)
    store.add(gallery, items, rows, DIGEST)
    alike(cache.current(gallery).gallery, exact(store))
    alike(cache.current(gallery).gallery, exact(store), rows)
    assert cache.current(gallery).gallery.find(items[1].id) == items[1]


def test_what_was_removed_is_found_no_more(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int]
) -> None:
    fill()
    _, items, rows = store.load(gallery)
    before = store.manifest(gallery).version
    gone = [items[at].id for at in (7, 8, 150)]
    store.remove(gallery, gone, ["label 3"])
    found = cache.current(gallery).gallery
    alike(found, exact(store))
    alike(found, exact(store), rows[[7, 8, 150, 3, 43]])
    assert found.find_all([*gone, items[9].id]) == {items[9].id: items[9]}
    near = np.argsort(-(rows @ queries()[0]))
    store.remove(
        gallery, [items[at].id for at in near[:100].tolist() if items[at].id in found.find_all({items[at].id})]
    )
    alike(cache.current(gallery).gallery, exact(store))  # most of what stands near was removed
    alike(cache.current(gallery, before).gallery, exact(store, before))  # and is there in the version before
    store.activate(gallery, before)
    alike(cache.current(gallery).gallery, exact(store))


def test_an_item_that_was_removed_may_come_again(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int]
) -> None:
    fill()
    _, items, rows = store.load(gallery)
    store.remove(gallery, [items[7].id])
    store.add(gallery, [items[7]], rows[7:8], DIGEST)
    found = cache.current(gallery).gallery
    assert found.search(rows[7:8], 1)[0][0].item == items[7]
    assert found.find(items[7].id) == items[7]
    alike(found, exact(store), rows[7:8])


def test_filters_find_what_they_find_of_all_items(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int]
) -> None:
    fill()
    items = store.items(gallery)
    store.remove(gallery, [one.id for one in items if one.metadata.get("shelf") == "3"][:5])
    filters: list[Filter]
    for filters in ([("shelf", "3")], [("shelf", "2"), ("size", "l")], [("size", "l")], [("shelf", "9")]):  # type: ignore[assignment]
        found, wanted = (one.filtered(filters) for one in (cache.current(gallery).gallery, exact(store)))
        if len(wanted):
            alike(found, wanted)
        else:
            assert (len(found), found.search_labels(queries(1), 3)) == (0, [Found()])
    assert cache.current(gallery).gallery.filtered([]) is cache.current(gallery).gallery


def test_an_erasure_leaves_nothing_of_an_item(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int], method: str
) -> None:
    fill()
    _, items, rows = store.load(gallery)
    generation = store.manifest(gallery).generation
    assert store.milvus is not None
    collection = store.milvus.collection(generation)
    before = store.milvus.partitions(collection)
    assert erase_rows(store, gallery, generation, {items[7].id}, "9999") > 0
    tidy(store, store.milvus, gallery, store._pointer(gallery), unfinished_s=0)
    left = store.milvus.partitions(collection)
    assert len(left) == len(before) - (method == "Milvus")
    assert not store.milvus.items(collection, left, {items[7].id})
    alike(cache.current(gallery).gallery, exact(store), rows[7:8])
    assert fill() == (method == "Milvus")
    alike(cache.current(gallery).gallery, exact(store), rows[7:8])
    assert cache.current(gallery).gallery.find(items[7].id) is None


def test_a_deleted_gallery_can_be_restored_until_it_is_purged(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int], method: str
) -> None:
    fill()
    store.delete(gallery)
    assert store.milvus is not None
    assert look_after(store, store.milvus) == 0
    restore(store, gallery)
    assert fill() == 0
    alike(cache.current(gallery).gallery, exact(store))
    collection = store.milvus.collection(store.manifest(gallery).generation)
    assert bool(store.milvus.partitions(collection)) == (method == "Milvus")
    store.delete(gallery)
    assert all(purge(store, one) for one in all_deleted(store))
    assert store.milvus.partitions(collection) == ()


def test_a_gallery_moves_to_the_other_index_and_back(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int], method: str
) -> None:
    fill()
    assert store.milvus is not None
    collection = store.milvus.collection(store.manifest(gallery).generation)
    for other in ("Flat" if method == "Milvus" else "Milvus", method):
        store.choose_index(gallery, IndexChoice(index_method=other).to_dict())  # type: ignore[arg-type]
        alike(cache.current(gallery).gallery, exact(store))
        fill()
        look_after(store, store.milvus)
        assert len(store.milvus.partitions(collection)) == (2 if other == "Milvus" else 0)
        assert isinstance(cache.current(gallery).gallery, SourcedGallery) == (other == "Milvus")
        alike(cache.current(gallery).gallery, exact(store))


def test_a_bundle_is_exported_and_imported(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int], tmp_path: Path
) -> None:
    fill()
    manifest, items, rows = store.load(gallery)
    with zipfile.ZipFile(tmp_path / "drinks.zip", "w") as file:
        bundles.write(file, manifest, items, rows, None, ())
    with bundles.opened(tmp_path / "drinks.zip") as file:
        bundle = bundles.read(file)
    store.delete(gallery)
    store.create(NAME, DIGEST, index=manifest.index)
    store.add(NAME, bundle.items, bundle.embeddings, DIGEST)
    assert fill() == (manifest.index == IndexChoice(index_method="Milvus").to_dict())
    alike(cache.current(NAME).gallery, exact(store))


def test_several_galleries_are_searched_as_one(
    store: GalleryStore, cache: GalleryCache, gallery: str, fill: Callable[[], int]
) -> None:
    fill()
    store.create("more", DIGEST)
    items, rows = made_items(60, 2000, labels=50)
    store.add("more", items, rows, DIGEST)
    joined = cache.joined([cache.current(gallery), cache.current("more")])
    assert cache.joined([cache.current(gallery), cache.current("more")]) is joined
    everything = Gallery([*store.items(gallery), *items], np.concatenate([store.load(gallery)[2], rows]))
    for one, other in zip(
        joined.gallery.search_labels(queries(), 5), everything.search_labels(queries(), 5), strict=True
    ):
        assert [match.item.id for match in one.matches] == [match.item.id for match in other.matches]
        assert [told(joined.gallery, one)[0][at] for at in (0, 2, 4)] == [
            told(everything, other)[0][at] for at in (0, 2, 4)
        ]
    assert {match.to_dict()["gallery"] for match in joined.gallery.search(queries(), 50)[0]} == {gallery, "more"}
    narrow = joined.gallery.filtered([("shelf", "3")])
    assert len(narrow) == len(everything.filtered([("shelf", "3")]))

"""A filtered gallery answers as one that has the matching items alone, whatever it is searched by otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from contracts.filters import Filter
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.built_index import noisy_views
from models.galleries.gallery import Gallery
from models.galleries.joined import JoinedGallery
from models.galleries.parted import PartedGallery
from models.galleries.parts import Labelled, LabelTable, Part
from tests.models.galleries.clusters import index_of, things


@dataclass(frozen=True)
class Tagged:
    """An item with metadata."""

    id: str
    label: str
    metadata: dict[str, str]


PLAIN, ROWS = things(3000)
ITEMS = [Tagged(one.id, one.label, {"brand": "abc"[at % 3], "ten": str(at % 10)}) for at, one in enumerate(PLAIN)]
QUERIES = noisy_views(ROWS[:40], np.random.default_rng(1))
FILTERS: list[tuple[Filter, ...]] = [
    (("brand", "a"),),
    (("brand", "b"), ("ten", "4")),
    (("brand", "z"),),
    (("no", "x"),),
]


def matching(filters: tuple[Filter, ...]) -> list[int]:
    return [at for at, item in enumerate(ITEMS) if all(item.metadata.get(name) == value for name, value in filters)]


def parted(folder: Path, gone: set[int] | None = None) -> PartedGallery:
    table = LabelTable()
    alive = np.array([at not in (gone or set()) for at in range(len(ITEMS))])
    first = Part(Labelled(ITEMS[:2600], ROWS[:2600], table), index_of(ROWS[:2600], "PQ", folder), alive[:2600])
    return PartedGallery([first, Part(Labelled(ITEMS[2600:], ROWS[2600:], table), None, alive[2600:])], table)


def check(found: Gallery, expected: Gallery) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found.search_labels(QUERIES, 5), expected.search_labels(QUERIES, 5), strict=True):
        assert [match.item.id for match in one.matches] == [match.item.id for match in other.matches]
        assert [(label.label, label.pictures) for label in one.labels[:3]] == [
            (label.label, label.pictures) for label in other.labels[:3]
        ]
        np.testing.assert_allclose(
            [label.score for label in one.labels[:3]], [label.score for label in other.labels[:3]], atol=1e-5
        )


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("held", [20_000, 10])  # copied, or masked where it lies
def test_of_a_large_gallery_with_an_index(
    filters: tuple[Filter, ...], held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.galleries.parted.MOST_HELD", held)
    gone = set(range(0, 3000, 7))
    left = [at for at in matching(filters) if at not in gone]
    check(parted(tmp_path, gone).filtered(filters), Gallery([ITEMS[at] for at in left], ROWS[left]))


@pytest.mark.parametrize("filters", FILTERS)
def test_of_a_small_and_of_joined_ones(filters: tuple[Filter, ...]) -> None:
    left = matching(filters)
    expected = Gallery([ITEMS[at] for at in left], ROWS[left])
    check(Gallery(ITEMS, ROWS).filtered(filters), expected)
    halves = [Gallery(ITEMS[:1500], ROWS[:1500], "one"), Gallery(ITEMS[1500:], ROWS[1500:], "two")]
    joined = JoinedGallery(halves).filtered(filters)
    check(joined, expected)
    for matches in joined.search(QUERIES[:3], 2):
        assert all(match.to_dict()["gallery"] in {"one", "two"} for match in matches)


@pytest.mark.parametrize("rerank", [0, 50])
@pytest.mark.parametrize("filters", FILTERS)
def test_of_binary_codes(filters: tuple[Filter, ...], rerank: int) -> None:
    left = matching(filters)
    found = BinaryGallery(ITEMS, ROWS, kind="BHNSW32", rerank=rerank).filtered(filters)
    expected = BinaryGallery([ITEMS[at] for at in left], ROWS[left], rerank=rerank)
    assert len(found) == len(expected)
    for one, other in zip(found.search(QUERIES, 5), expected.search(QUERIES, 5), strict=True):
        np.testing.assert_allclose([m.similarity for m in one], [m.similarity for m in other], atol=1e-6)


def test_without_filters_and_twice_it_is_the_same_object() -> None:
    gallery = Gallery(ITEMS, ROWS)
    assert gallery.filtered(()) is gallery
    assert gallery.filtered(FILTERS[0]) is gallery.filtered(FILTERS[0])


def test_what_is_kept_of_views_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.galleries.gallery.MOST_HELD", 1200)
    gallery = Gallery(ITEMS, ROWS)
    first = gallery.filtered((("brand", "a"),))
    assert gallery.filtered((("brand", "a"),)) is first
    gallery.filtered((("brand", "b"),))
    assert gallery.filtered((("brand", "a"),)) is not first


def test_items_without_metadata_meet_nothing() -> None:
    assert len(Gallery(PLAIN, ROWS).filtered(FILTERS[0])) == 0

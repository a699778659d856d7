from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.indexes import FAISS_KINDS, BuiltKind
from models.errors import GalleryError
from models.galleries.built_index import BuiltIndex, noisy_views
from models.galleries.fused_gallery import shown_by
from models.galleries.gallery import Gallery
from models.galleries.items import labels_of, with_metadata
from models.galleries.joined import JoinedGallery
from models.galleries.parted import PartedGallery
from models.galleries.parts import MOST_WIDENED, Labelled, LabelTable, Part, exact
from tests.models.galleries.clusters import DIM, Thing, index_of, things, without

ITEMS, ROWS = things(4000)


@dataclass(frozen=True)
class Marked(Thing):
    """With metadata."""

    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


QUERIES = noisy_views(ROWS[:60], np.random.default_rng(3))


def parted(
    cuts: Sequence[int], gone: set[int] | None = None, index: BuiltIndex | None = None, table: LabelTable | None = None
) -> PartedGallery:
    """The items cut into parts at these places, the first of them with the index."""
    table = table or LabelTable()
    parts = []
    for start, end in zip((0, *cuts), (*cuts, len(ITEMS)), strict=True):
        alive = None if gone is None else np.array([at not in gone for at in range(start, end)])
        labelled = Labelled(ITEMS[start:end], ROWS[start:end], table)
        parts.append(Part(labelled, index if start == 0 else None, alive))
    return PartedGallery(parts, table)


def check_same(found: Gallery, expected: Gallery, queries: NDArray[np.float32], k: int = 5) -> None:
    """Items, similarities, labels and their scores."""
    for one, other in zip(found.search_labels(queries, k), expected.search_labels(queries, k), strict=True):
        assert [match.item for match in one.matches] == [match.item for match in other.matches]
        np.testing.assert_allclose(
            [m.similarity for m in one.matches], [m.similarity for m in other.matches], atol=1e-5
        )
        assert one.labels[0].label == other.labels[0].label
        assert one.labels[0].pictures == other.labels[0].pictures
        np.testing.assert_allclose(one.labels[0].score, other.labels[0].score, atol=1e-5)


@pytest.mark.parametrize("gone", [None, {0, 5, 3999}, set(range(0, 4000, 3)), set(range(3900))])
def test_parts_without_an_index_answer_as_one_exact_gallery(gone: set[int] | None) -> None:
    found = parted((2500, 3500), gone)
    expected = without(ITEMS, ROWS, gone or set())
    check_same(found, expected, QUERIES)
    assert list(found.items) == list(expected.items)
    np.testing.assert_array_equal(found.embeddings(), expected.embeddings())


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_built_index_and_an_exact_tail_find_what_exact_search_finds(kind: BuiltKind, tmp_path: Path) -> None:
    index = index_of(ROWS[:3500], kind, tmp_path)
    gone = set(range(0, 4000, 100))
    for found, expected in (
        (parted((3500,), None, index), Gallery(ITEMS, ROWS)),
        (parted((3500,), gone, index), without(ITEMS, ROWS, gone)),
    ):
        nearest = [matches[0].item for matches in expected.search(QUERIES, 1)]
        same = [matches[0].item == best for matches, best in zip(found.search(QUERIES, 1), nearest, strict=True)]
        assert np.mean(same) >= 0.98
        last = found.search(ROWS[-1:], 1) if 3999 not in gone else []
        assert [match.item.id for matches in last for match in matches] == ["itm_3999"]  # from the tail


@pytest.mark.parametrize("kind", FAISS_KINDS)
@pytest.mark.parametrize("left", [3, 700])
def test_what_is_removed_is_never_found_though_it_is_all_that_is_near(
    kind: BuiltKind, left: int, tmp_path: Path
) -> None:
    """The nearest thousands are gone: the index is searched for more and more, and in the end every row is compared."""
    like = ROWS[:3500] @ ROWS[0]
    gone = set(np.argsort(-like)[: 3500 - left].tolist()) | set(range(3500, 4000))
    found = parted((3500,), gone, index_of(ROWS[:3500], kind, tmp_path))
    (matches,) = found.search(ROWS[:1], 10)
    (expected,) = without(ITEMS, ROWS, gone).search(ROWS[:1], 10)
    assert [match.item.id for match in matches][:1] == [match.item.id for match in expected][:1]
    assert len(matches) == min(10, left)
    assert not gone & {int(match.item.id[4:]) for match in matches}


def test_the_sums_of_labels_are_kept_and_those_of_another_version_its_own() -> None:
    table = LabelTable()
    whole, less = parted((2000,), None, table=table), parted((2000,), set(range(800)), table=table)
    for _ in range(2):
        check_same(whole, Gallery(ITEMS, ROWS), QUERIES[:5])
        check_same(less, without(ITEMS, ROWS, set(range(800))), QUERIES[:5])


def test_items_by_place() -> None:
    items = parted((10, 20), {0, 15}).items
    assert len(items) == 3998
    assert (items[0], items[-1], items[13]) == (ITEMS[1], ITEMS[-1], ITEMS[14])
    assert items[14] == ITEMS[16]
    assert list(items[8:11]) == ITEMS[9:12]
    for place in (3998, -3999):
        with pytest.raises(IndexError):
            items[place]


@pytest.mark.parametrize("gone", [None, {0, 5, 2600, 3999}])
def test_items_labels_and_metadata_as_of_all_items(gone: set[int] | None) -> None:
    found = parted((2500, 3500), gone)
    items = list(found.items)
    assert list(labels_of(found.items)) == [one.label for one in items]
    assert found.find_all({one.id for one in items[::500]}) == {one.id: one for one in items[::500]}
    assert found.find(ITEMS[2700].id) == ITEMS[2700]
    assert found.find(ITEMS[5].id) == (None if gone else ITEMS[5])
    assert found.find("none") is None
    joined = JoinedGallery([Gallery([ITEMS[3]], ROWS[3:4]), found])
    assert list(labels_of(joined.items)) == [ITEMS[3].label, *(one.label for one in items)]
    last = joined.find(ITEMS[3998].id)
    assert last is not None
    assert (last.id, getattr(last, "source", None)) == (ITEMS[3998].id, 1)


def test_metadata_by_place() -> None:
    items = [Marked(f"itm_{at}", f"l{at % 5}", {"side": str(at % 2)} if at % 3 else {}) for at in range(200)]
    table, alive = LabelTable(), np.arange(120) % 7 > 0
    parts = [Part(Labelled(items[:120], ROWS[:120], table), None, alive), Part(Labelled(items[120:], ROWS[:80], table))]
    found = PartedGallery(parts, table)
    expected = {at: one.metadata for at, one in enumerate(found.items) if isinstance(one, Marked) and one.metadata}
    assert len(expected) > 100
    assert dict(with_metadata(found.items)) == expected
    shifted = JoinedGallery([Gallery([items[0]], ROWS[:1]), found])
    assert dict(with_metadata(shifted.items)) == {at + 1: metadata for at, metadata in expected.items()}
    things = [(one.label, dict(one.metadata or {})) for one in shown_by(found.items)]
    assert things == [(one.label, dict(expected.get(at, {}))) for at, one in enumerate(found.items)]


def test_rows_by_place() -> None:
    found = parted((10, 20), {0, 15}).rows_at(np.array([3997, 0, 14]))
    np.testing.assert_array_equal(found, ROWS[[3999, 1, 16]])


def test_parts_can_be_joined_with_other_galleries() -> None:
    other = Gallery([Thing("other", "other")], QUERIES[:1], "other")
    joined = JoinedGallery([parted((2500,)), other])
    ((first, *_), *_) = joined.search(QUERIES, 2)
    assert (first.item.id, len(joined)) == ("other", 4001)


def test_nothing_at_all() -> None:
    empty = PartedGallery([], LabelTable())
    assert empty.search_labels(np.ones((1, 8), np.float32), 3)[0].matches == ()
    table = LabelTable()
    dead = PartedGallery([Part(Labelled(ITEMS[:3], ROWS[:3], table), None, np.zeros(3, bool))], table)
    assert len(dead) == 0
    assert dead.search(ROWS[:1], 3) == [[]]


def test_parts_of_several_embedders_are_refused() -> None:
    table = LabelTable()
    parts = [Part(Labelled(ITEMS[:3], np.ones((3, dim), np.float32), table)) for dim in (4, 8)]
    with pytest.raises(GalleryError, match="4, 8 dimensions"):
        PartedGallery(parts, table)


def test_exact_search_past_many_removed() -> None:
    alive = np.ones(4000, bool)
    order = np.argsort(-(ROWS @ ROWS[0]))
    for removed in (1, 40, 3990):
        alive[order[:removed]] = False
        ((places, values),) = exact(ROWS[:1], ROWS, 5, alive)
        assert alive[places].all()
        best = (ROWS @ ROWS[0])[order[removed : removed + 5]]
        np.testing.assert_allclose(ROWS[places] @ ROWS[0], best, atol=1e-6)  # equal ones come in any order
        assert values.tolist() == sorted(values.tolist(), reverse=True)
    assert MOST_WIDENED < 8 * 3990
    assert exact(ROWS[:0], ROWS, 5) == []
    assert ROWS.shape[1] == DIM

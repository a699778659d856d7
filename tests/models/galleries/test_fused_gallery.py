"""Pictures fused into one vector a thing: against slow, obvious numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.indexes import IndexChoice, things_of
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.calibration_queries import LEFT_OUT, REAL, own_queries
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.galleries.joined import JoinedGallery
from models.galleries.left_out import answers
from models.galleries.near_duplicates import near_duplicates
from models.galleries.parted import PartedGallery
from models.galleries.parts import Labelled, LabelTable, Part
from models.vectors import unit_rows

Rows = NDArray[np.float32]
DIM = 32
BY_LABEL, BY_VIEW = IndexChoice(fuse=True), IndexChoice(fuse=True, fuse_by="view")


@dataclass(frozen=True)
class Shot:
    id: str
    label: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


def made(count: int = 60, labels: int = 9, seed: int = 0) -> tuple[list[Shot], Rows]:
    """Shots around a centre for each label, some with a view."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(labels, DIM))
    which = rng.integers(labels, size=count)
    rows = unit_rows((centres[which] + 0.8 * rng.normal(size=(count, DIM))).astype(np.float32))
    views = ({"view": "front"}, {"view": "back"}, {"other": "front"})
    return [Shot(f"s{at}", f"label {one}", views[at % 3]) for at, one in enumerate(which)], rows


def queries(count: int = 12) -> Rows:
    return unit_rows(np.random.default_rng(7).normal(size=(count, DIM)).astype(np.float32))


def slow(items: list[Shot], rows: Rows, query: Rows, by: str | None) -> list[tuple[float, str, str]]:
    """For each thing: similarity, label, id of the nearest picture; the best first."""
    things: dict[Any, list[int]] = {}
    for at, item in enumerate(items):
        things.setdefault((item.label, item.metadata.get(by) if by else None), []).append(at)
    found = []
    for (label, _), places in things.items():
        mean = np.mean(rows[places].astype(np.float64), axis=0)
        similarity = float(mean / np.linalg.norm(mean) @ query)
        nearest = max(places, key=lambda at: float(rows[at] @ query))
        found.append((similarity, label, items[nearest].id))
    return sorted(found, reverse=True)


def parted(items: list[Shot], rows: Rows) -> PartedGallery:
    """In two parts, the first without the rows that were removed of it."""
    table = LabelTable()
    filler, noise = made(10, seed=5)
    half = len(items) // 2
    alive = np.arange(half + 10) % 2 == 0
    alive = np.concatenate([np.ones(half, bool), np.zeros(10, bool)])
    first = Labelled([*items[:half], *filler], np.concatenate([rows[:half], noise]), table)
    return PartedGallery(
        [Part(first, None, alive), Part(Labelled(items[half:], rows[half:], table))], table, "drinks", 3
    )


@pytest.mark.parametrize("make", [Gallery, parted])
@pytest.mark.parametrize("choice", [BY_LABEL, BY_VIEW])
def test_it_is_the_mean_of_each_thing_and_shows_the_nearest_picture(make: Any, choice: IndexChoice) -> None:
    items, rows = made()
    gallery = FusedGallery(make(items, rows), choice)
    assert [item.id for item in gallery.items] == [item.id for item in items]
    np.testing.assert_array_equal(gallery.embeddings(), rows)
    for k in (1, 4, 1000):
        for query, matches in zip(queries(), gallery.search(queries(), k), strict=True):
            expected = slow(items, rows, query, choice.fuse_by)[:k]
            np.testing.assert_allclose([one.similarity for one in matches], [one[0] for one in expected], atol=1e-5)
            assert [(one.item.label, one.item.id) for one in matches] == [one[1:] for one in expected]
    for query, found in zip(queries(), gallery.search_labels(queries(), 3), strict=True):
        expected = slow(items, rows, query, choice.fuse_by)
        assert [match.item.id for match in found.matches] == [one[2] for one in expected[:3]]
        best: dict[str, tuple[float, str]] = {}
        for similarity, label, shown in expected:
            best.setdefault(label, (similarity, shown))
        assert [one.label for one in found.labels] == list(best)
        np.testing.assert_allclose([one.score for one in found.labels], [one[0] for one in best.values()], atol=1e-5)
        assert [items[one.place].id for one in found.labels] == [one[1] for one in best.values()]
        assert [one.pictures for one in found.labels] == [sum(i.label == label for i in items) for label in best]


def test_one_picture_a_label_is_the_plain_gallery() -> None:
    rows = queries(20)
    items = [Shot(str(at), f"label {at}") for at in range(20)]
    fused, plain = (
        one.search_labels(rows[:5] + 0.1, 4)
        for one in (FusedGallery(Gallery(items, rows), BY_LABEL), Gallery(items, rows))
    )
    assert [[one.label for one in found.labels] for found in fused] == [
        [one.label for one in found.labels] for found in plain
    ]
    np.testing.assert_allclose(
        [[one.similarity for one in found.matches] for found in fused],
        [[one.similarity for one in found.matches] for found in plain],
        atol=1e-5,
    )


def test_codes_of_the_means_are_searched_and_re_ranked_by_them() -> None:
    items, rows = made(200, 40)
    choice = IndexChoice(dist_type="hamming", rerank=40, fuse=True)
    gallery = FusedGallery(Gallery(items, rows), choice)
    exact = FusedGallery(Gallery(items, rows), BY_LABEL)
    assert gallery.thing_count == 40
    assert gallery.calibratable
    for one, other in zip(gallery.search(queries(), 5), exact.search(queries(), 5), strict=True):
        assert [match.item for match in one] == [match.item for match in other]
    bare = FusedGallery(Gallery(items, rows), IndexChoice(dist_type="hamming", rerank=0, fuse=True))
    assert not bare.calibratable
    assert len(bare.search(queries(), 5)[0]) == 5


def test_a_filter_leaves_the_mean_of_what_meets_it() -> None:
    items, rows = made()
    kept = [at for at, item in enumerate(items) if item.metadata.get("view") == "back"]
    found = FusedGallery(Gallery(items, rows), BY_LABEL).filtered((("view", "back"),))
    for query, matches in zip(queries(), found.search(queries(), 50), strict=True):
        expected = slow([items[at] for at in kept], rows[kept], query, None)
        np.testing.assert_allclose([one.similarity for one in matches], [one[0] for one in expected], atol=1e-5)


def test_without_items_nothing_is_found() -> None:
    empty = FusedGallery(Gallery([], np.empty((0, 0), np.float32)), BY_LABEL)
    assert (len(empty), empty.thing_count) == (0, 0)
    assert empty.search(queries(2), 3) == [[], []]
    assert [found.labels for found in empty.search_labels(queries(2), 3)] == [(), ()]


def test_opposite_pictures_are_like_nothing() -> None:
    row = queries(1)
    gallery = FusedGallery(Gallery([Shot("a", "tea"), Shot("b", "tea")], np.concatenate([row, -row])), BY_LABEL)
    (found,) = gallery.search(row, 1)
    assert (found[0].item.id, found[0].similarity) == ("a", 0.0)


def test_next_to_a_plain_gallery_each_answers_in_its_way() -> None:
    items, rows = made()
    others = [Shot("x", "only there"), Shot("y", "only there")]
    joined = JoinedGallery(
        [FusedGallery(Gallery(items, rows, "fused"), BY_LABEL), Gallery(others, queries(2), "plain")]
    )
    (matches,) = joined.search(queries(1), 3)
    assert (matches[0].item.id, matches[0].similarity) == ("x", pytest.approx(1.0, abs=1e-5))
    expected = slow(items, rows, queries(1)[0], None)
    assert matches[1].similarity == pytest.approx(max(expected[0][0], float(queries(2)[1] @ queries(1)[0])), abs=1e-5)
    assert len(joined.by_pictures().search(queries(1), 100)[0]) == 62
    plain = JoinedGallery([Gallery(items, rows)])
    assert plain.by_pictures() is plain


def test_near_duplicates_are_reported_of_pictures_not_of_means() -> None:
    items, rows = made()
    gallery = FusedGallery(Gallery(items, rows), BY_LABEL)
    (near,) = near_duplicates(gallery, [Shot("new", items[3].label)], rows[3:4])
    assert near is not None
    assert (near.item_id, near.similarity) == ("s3", pytest.approx(1.0, abs=1e-5))


@pytest.mark.parametrize("by", [None, "view"])
def test_leave_one_out_fuses_the_thing_without_the_query(by: str | None) -> None:
    items, rows = made(40, 9)
    labels = [item.label for item in items]
    things = things_of(IndexChoice(fuse=True, fuse_by=by), items)
    assert things is not None
    expected: dict[int, str] = {}
    scores = []
    for at, item in enumerate(items):
        if labels.count(item.label) > 1:
            rest = [one for one in range(len(items)) if one != at]
            best = slow([items[one] for one in rest], rows[rest], rows[at], by)[0]
            expected[at] = best[1]
            scores.append(best[0])
    found: dict[int, str | None] = {}
    for some in answers(labels, rows, things):
        found |= some
    assert found == expected
    seen = own_queries(labels, rows, None, rows[:0], things)
    real = seen.of(REAL)
    np.testing.assert_allclose(real.scores, scores, atol=1e-5)
    assert real.right.tolist() == [float(expected[at] == labels[at]) for at in sorted(expected)]
    without = seen.of(LEFT_OUT)
    for score, at in zip(without.scores, sorted(expected), strict=True):
        rest = [one for one in range(len(items)) if labels[one] != labels[at]]
        assert score == pytest.approx(slow([items[one] for one in rest], rows[rest], rows[at], by)[0][0], abs=1e-5)


def test_the_codes_of_a_binary_gallery_are_not_fused_without_its_rows() -> None:
    items, rows = made()
    with pytest.raises(Exception, match="Without embeddings"):
        FusedGallery(BinaryGallery(items, rows), BY_LABEL)

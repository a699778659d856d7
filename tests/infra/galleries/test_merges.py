"""Which segments an addition joins: small ones soon, large ones seldom, and those with removed items always."""

import random
from itertools import pairwise

import pytest

from infra.galleries.files import Segment
from infra.galleries.merges import MAX_SEGMENTS, split_for_merge

MOST = 1000  # in place of a million


def segments(*counts: int) -> tuple[Segment, ...]:
    return tuple(Segment(str(at), count, "", "") for at, count in enumerate(counts))


def test_a_large_segment_stays_where_small_ones_are_joined() -> None:
    large = segments(10_000, *[20] * (MAX_SEGMENTS - 1))
    assert split_for_merge(large, 20) == (large[:1], large[1:])
    assert split_for_merge(large[:-1], 20) == (large[:-1], ())  # there is room
    even = segments(*[20] * MAX_SEGMENTS)
    assert split_for_merge(even, 20) == ((), even)


def test_a_segment_with_removed_items_is_joined_and_all_after_it() -> None:
    found = list(segments(10_000, 5_000, *[20] * (MAX_SEGMENTS - 2)))
    found[1] = Segment("1", 5_000, "", "", ("itm_1",))
    assert split_for_merge(tuple(found), 20) == (tuple(found[:1]), tuple(found[1:]))


@pytest.mark.parametrize("sizes", [(20, 20), (1, 500)])
def test_a_growing_gallery_is_written_few_times_over(sizes: tuple[int, int]) -> None:
    rng = random.Random(0)
    held, added, written = segments(10_000), 0, 0
    for at in range(2000):
        count = rng.randint(*sizes)
        kept, joined = split_for_merge(held, count)
        total = count + sum(one.live_count for one in joined)
        held = (*kept, Segment(f"new {at}", total, "", ""))
        assert len(held) <= MAX_SEGMENTS
        added, written = added + count, written + total
    assert sum(one.live_count for one in held) == 10_000 + added
    assert written < 10 * (10_000 + added)  # joined whole at every sixteenth addition: more than 60 times


@pytest.mark.parametrize("sizes", [(1, 5), (20, 80), (300, 450), (600, 900), (1, 900)])
def test_no_merge_holds_a_gallery_that_is_too_large(sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.merges.MOST_JOINED", MOST)
    rng = random.Random(0)
    held, added, written = segments(), 0, 0
    for at in range(1500):
        count = rng.randint(*sizes)
        kept, joined = split_for_merge(held, count)
        total = count + sum(one.live_count for one in joined)
        assert not joined or total <= MOST
        removed = ("itm_1",) if rng.random() < 0.2 else ()
        assert [*kept, *joined] == list(held)
        held = (*kept, Segment(f"new {at}", total + len(removed), "", "", removed))
        added, written = added + count, written + total
    assert sum(one.live_count for one in held) == added
    assert written < 10 * added
    assert len(held) <= MAX_SEGMENTS * (1 + sum(2 * one.live_count >= MOST for one in held))
    large = [at for at, one in enumerate(held) if 2 * one.live_count >= MOST]
    assert all(after - before <= MAX_SEGMENTS for before, after in pairwise(large))

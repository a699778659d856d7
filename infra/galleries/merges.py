"""Which segments of a gallery an addition joins: small ones often, large ones seldom, as in a log-structured merge tree.

A gallery that grows by additions of one size is read and written again about log(additions / MAX_SEGMENTS) times in all,
not once for every MAX_SEGMENTS additions. (O'Neil et al., "The log-structured merge-tree", 1996)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.galleries.files import Segment

MAX_SEGMENTS = 16  # a gallery has more only while large ones are joined
FEWEST_MERGED = MAX_SEGMENTS // 2  # so that it is long to the next merge
MOST_JOINED = (
    1_000_000  # items: a merge holds their embeddings in memory, and of a larger gallery no process may hold all
)
GROWTH = 2  # a segment stays as it is while it has more than so many times the items of all later ones


def split_for_merge(segments: tuple[Segment, ...], new_items: int) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """The segments that stay, and the later ones that an addition of so many items joins with its own; none if there is room.

    The order of the items stays that of their adding. A segment with removed items is joined always, with all after it:
    their embeddings shall not lie there for good. But no more than MOST_JOINED items are joined: a segment of half of that
    stays as it is, with all before it, and none of these counts. What was removed of them goes with an erasure.
    """
    full = max((at + 1 for at, segment in enumerate(segments) if 2 * segment.live_count >= MOST_JOINED), default=0)
    if len(segments) - full < MAX_SEGMENTS:
        return segments, ()
    first = len(segments) - FEWEST_MERGED
    joined = new_items + sum(segment.live_count for segment in segments[first:])
    while first > full and segments[first - 1].live_count <= GROWTH * joined:
        first -= 1
        joined += segments[first].live_count
    with_removed = (at for at, segment in enumerate(segments) if segment.removed and at >= full)
    first = min(first, next(with_removed, first))
    joined = new_items + sum(segment.live_count for segment in segments[first:])
    while joined > MOST_JOINED and first < len(segments):
        joined -= segments[first].live_count
        first += 1
    return segments[:first], segments[first:]

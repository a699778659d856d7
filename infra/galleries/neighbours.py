"""What each item of a gallery would be taken for without itself: its nearest items and best labels, block by block.

Scores are those that photos are answered by (models.galleries.label_scores), which a web process must not import: nearest
picture and mean of a label, the latter counting the more the more pictures there are. Every item is compared with all
others, in time that grows with the square of their number; so the search stops when its time is over and can be gone on with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BLOCK_CELLS = 12_000_000  # similarities held at a time; three such arrays at most, 144 MB
LARGEST_BLOCK = 256  # rows
HALFWAY = 2.0  # as in models.galleries.label_scores; a test compares both
EPSILON = 1e-12
NOTHING = -2.0  # below any similarity


@dataclass(frozen=True)
class Found:
    """For each of N items, in their order; places are rows, -1 for none, and similarities then NOTHING.

    `done` says which were searched. `own_score` is that of the item's label without it, `other_score` that of the best
    other label, `other_place` its nearest item; `twin_place` is the nearest item of any other label.
    """

    done: NDArray[np.bool_]
    own_place: NDArray[np.int64]
    own_near: NDArray[np.float32]
    own_score: NDArray[np.float32]
    other_place: NDArray[np.int64]
    other_near: NDArray[np.float32]
    other_score: NDArray[np.float32]
    twin_place: NDArray[np.int64]
    twin_near: NDArray[np.float32]

    @classmethod
    def nothing(cls, count: int) -> Found:
        """Of so many items, none searched yet."""
        places = [np.full(count, -1, np.int64) for _ in range(3)]
        values = [np.full(count, NOTHING, np.float32) for _ in range(5)]
        done = np.zeros(count, np.bool_)
        return cls(done, places[0], values[0], values[1], places[1], values[2], values[3], places[2], values[4])

    @property
    def complete(self) -> bool:
        """Whether all items were searched."""
        return bool(self.done.all())


def search(labels: Sequence[str], embeddings: NDArray[np.float32], found: Found, seconds: float | None = None) -> None:
    """Fills `found` for the items (N labels, embeddings (N, D) of unit length) that are not done, for at most about `seconds`.

    At least one block is done at each call. Which items come first is drawn, always alike: what is known early is a
    sample of all.
    """
    if not len(labels):
        return
    deadline = None if seconds is None else time.monotonic() + seconds
    order = np.argsort(np.array(labels, dtype=object), kind="stable")  # a label's rows stand together
    sorted_labels = [labels[place] for place in order.tolist()]
    starts = np.array([at for at, one in enumerate(sorted_labels) if not at or sorted_labels[at - 1] != one], np.int64)
    block = _Block(np.ascontiguousarray(embeddings[order], np.float32), starts, order)
    for rows in block.parts():
        if found.done[order[rows]].all():
            continue
        block.search(rows, found)
        if deadline is not None and time.monotonic() > deadline:
            return


class _Block:
    """The rows in the order of their labels, and what searching a part of them needs."""

    def __init__(self, rows: NDArray[np.float32], starts: NDArray[np.int64], order: NDArray[np.int64]) -> None:
        self.rows, self.starts, self.order = rows, starts, order
        self.counts = np.diff(np.append(starts, len(rows)))
        self.codes = np.repeat(np.arange(len(starts)), self.counts)
        self.several = np.flatnonzero(self.counts > 1)
        sums = np.zeros((len(self.several), rows.shape[1]), np.float32)
        for at, code in enumerate(self.several.tolist()):
            sums[at] = rows[starts[code] : starts[code] + self.counts[code]].sum(axis=0)
        self.norms = np.maximum(np.linalg.norm(sums, axis=1), EPSILON)
        self.means = sums / self.norms[:, None]
        self.mean_of = np.full(len(starts), -1, np.int64)
        self.mean_of[self.several] = np.arange(len(self.several))

    def parts(self) -> list[slice]:
        size = max(1, min(LARGEST_BLOCK, BLOCK_CELLS // len(self.rows)))
        first = np.arange(0, len(self.rows), size)
        return [slice(int(at), int(at) + size) for at in np.random.default_rng(0).permutation(first)]

    def search(self, part: slice, found: Found) -> None:
        queries, codes = self.rows[part], self.codes[part]
        each = np.arange(len(queries))
        similarities = queries @ self.rows.T  # (B, N)
        similarities[each, part.start + each] = NOTHING
        nearest = np.maximum.reduceat(similarities, self.starts, axis=1)  # (B, L)
        scores = nearest.copy()
        if self.several.size:
            towards = queries @ self.means.T  # (B, M)
            weight = _weight(self.counts[self.several])
            scores[:, self.several] = (1 - weight) * nearest[:, self.several] + weight * towards
            self._without_itself(queries, codes, nearest, towards, scores)
        places = self.order[part]
        own_near = nearest[each, codes].copy()
        found.own_near[places] = own_near
        found.own_score[places] = np.where(own_near > NOTHING, scores[each, codes], NOTHING)
        scores[each, codes] = nearest[each, codes] = NOTHING
        best, twin = scores.argmax(axis=1), nearest.argmax(axis=1)
        for row, place in enumerate(places.tolist()):
            found.own_place[place] = self._nearest_of(similarities[row], int(codes[row]))
            if len(self.starts) > 1:
                found.other_place[place] = self._nearest_of(similarities[row], int(best[row]))
                found.twin_place[place] = self._nearest_of(similarities[row], int(twin[row]))
        found.other_score[places], found.other_near[places] = scores[each, best], nearest[each, best]
        found.twin_near[places] = nearest[each, twin]
        found.done[places] = True

    def _without_itself(
        self,
        queries: NDArray[np.float32],
        codes: NDArray[np.int64],
        nearest: NDArray[np.float32],
        towards: NDArray[np.float32],
        scores: NDArray[np.float32],
    ) -> None:
        """The score of each query's own label: by the mean of the others, if there are two."""
        each = np.arange(len(queries))
        scores[each, codes] = nearest[each, codes]
        some = np.flatnonzero(self.counts[codes] > 2)
        which = self.mean_of[codes[some]]
        norms, along = self.norms[which], towards[some, which]
        lengths = (queries[some] ** 2).sum(axis=1)
        rest = np.maximum(norms**2 - 2 * norms * along + lengths, EPSILON)
        weight = _weight(self.counts[codes[some]] - 1)
        scores[some, codes[some]] = (1 - weight) * nearest[some, codes[some]] + weight * (
            norms * along - lengths
        ) / np.sqrt(rest)

    def _nearest_of(self, similarities: NDArray[np.float32], code: int) -> int:
        start = int(self.starts[code])
        best = start + int(similarities[start : start + int(self.counts[code])].argmax())
        return int(self.order[best]) if similarities[best] > NOTHING else -1


def _weight(pictures: NDArray[np.int64]) -> NDArray[np.float32]:
    more = (pictures - 1).astype(np.float32)
    return np.asarray(more / (more + HALFWAY), np.float32)

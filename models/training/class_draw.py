"""Which classes come into a batch, and which pictures of each: by the shares of their sources (a PK sampler)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.training.errors import TrainingError


@dataclass(frozen=True, eq=False)
class ClassDraw:
    """C classes, numbered from 0: the pictures of each, and how often it is drawn."""

    members: tuple[NDArray[np.int64], ...]  # C times (n,), in order
    chances: NDArray[np.float64]  # (C,), 1 together

    def __call__(self, rng: np.random.Generator, classes: int, views: int) -> NDArray[np.int64]:
        """`views` pictures of each of `classes` different classes: (classes * views,).

        None comes twice, unless its class has fewer than `views`.
        """
        drawn = rng.choice(len(self.members), classes, replace=False, p=self.chances)
        return np.concatenate([rng.choice(m, views, replace=len(m) < views) for m in (self.members[c] for c in drawn)])

    def require(self, batch: int, views: int, processes: int = 1) -> None:
        """Raises TrainingError where a batch needs more classes than can be drawn, or fewer than `processes`."""
        wanted, there = batch // views, int(np.count_nonzero(self.chances))
        if not processes <= wanted <= there:
            shared = f", for {processes} processes" if processes > 1 else ""
            raise TrainingError(
                f"a batch of {batch} at {views} views a class asks for {wanted} classes a step; there are {there}{shared}"
            )


def class_draw(
    labels: NDArray[np.int64], sources: NDArray[np.int64], shares: Sequence[float], *, by_pictures: bool = False
) -> ClassDraw:
    """How the classes of N pictures are drawn: between sources by `shares`, within a source evenly or `by_pictures` of each.

    Each class from 0 to the last has pictures, and all of them are of one source.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    members = tuple(order[a:b] for a, b in pairwise(starts))
    source = np.array([sources[some[0]] for some in members])
    weights = np.diff(starts) if by_pictures else np.ones(len(members))
    chances = np.array(shares)[source] * weights / np.bincount(source, weights)[source]
    return ClassDraw(members, chances / chances.sum())

"""Which classes come into a batch, and which pictures of each: by the sampling weights of their sources (a PK sampler)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.training.errors import TrainingError


@dataclass(frozen=True, eq=False)
class PKSampler:
    """C classes, numbered from 0: the pictures of each, and how often it is sampled."""

    members: tuple[NDArray[np.int64], ...]  # C times (n,), in order
    probabilities: NDArray[np.float64]  # (C,), 1 together
    neighbours: NDArray[np.int64] | None = None  # (C, K) the classes most alike to each
    hard: float = 0.0  # the fraction of a batch's classes that are neighbours of its others

    def __call__(self, rng: np.random.Generator, classes: int, views: int) -> NDArray[np.int64]:
        """`views` pictures of each of `classes` different classes: (classes * views,).

        None comes twice, unless its class has fewer than `views`.
        """
        sampled = rng.choice(len(self.members), classes, replace=False, p=self.probabilities)
        if self.neighbours is not None and self.hard:
            sampled = self._with_neighbours(rng, sampled, self.neighbours)
        return np.concatenate(
            [rng.choice(m, views, replace=len(m) < views) for m in (self.members[c] for c in sampled)]
        )

    def _with_neighbours(
        self, rng: np.random.Generator, sampled: NDArray[np.int64], neighbours: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The first of the classes, then look-alikes of those in place of the others; a look-alike twice is left out."""
        kept = len(sampled) - int(self.hard * len(sampled))
        chosen = [int(c) for c in sampled[:kept]]
        for place in range(len(sampled) - kept):
            near = int(rng.choice(neighbours[sampled[place % kept]]))
            if near not in chosen and self.probabilities[near]:
                chosen.append(near)
        spare = [int(c) for c in sampled[kept:] if c not in chosen]
        return np.array(chosen + spare[: len(sampled) - len(chosen)])

    def require(self, batch: int, views: int, processes: int = 1) -> None:
        """Raises TrainingError where a batch needs more classes than can be sampled, or fewer than `processes`."""
        wanted, there = batch // views, int(np.count_nonzero(self.probabilities))
        if not processes <= wanted <= there:
            shared = f", for {processes} processes" if processes > 1 else ""
            raise TrainingError(
                f"a batch of {batch} at {views} views a class needs {wanted} classes a step; there are {there}{shared}"
            )


def nearest_classes(
    centres: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64], count: int = 5
) -> NDArray[np.int64]:
    """The `count` classes of the same source whose centres (C, D) are most alike to each (C, count): flavours of one design.

    A class alone in its source is its own neighbour.
    """
    unit = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    source = np.zeros(len(unit), np.int64)
    source[labels[::-1]] = sources[::-1]  # that of a class's first picture
    alike = unit @ unit.T
    alike[source[:, None] != source[None]] = -np.inf
    np.fill_diagonal(alike, -2.0)
    order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
    there = np.take_along_axis(alike, order, axis=1) > -np.inf
    return np.where(there, order, np.arange(len(unit))[:, None])


def pk_sampler(
    labels: NDArray[np.int64],
    sources: NDArray[np.int64],
    sampling_weights: Sequence[float],
    *,
    by_pictures: bool = False,
) -> PKSampler:
    """How the classes of N pictures are sampled: between sources by `sampling_weights`, within a source evenly or `by_pictures` of each.

    Each class from 0 to the last has pictures, and all of them are of one source.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    members = tuple(order[a:b] for a, b in pairwise(starts))
    source = np.array([sources[some[0]] for some in members])
    weights = np.diff(starts) if by_pictures else np.ones(len(members))
    probabilities = np.array(sampling_weights)[source] * weights / np.bincount(source, weights)[source]
    return PKSampler(members, probabilities / probabilities.sum())

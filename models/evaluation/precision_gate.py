"""Whether a network of fewer bits may answer in place of the full one: measured on the user's own gallery.

Each picture of the gallery, and an augmented view of each, is a query among all the other pictures. A precision passes if the
label on top is that of fp32 for nearly all of them, and if the probabilities hold: by the same calibration, nearly no
answer becomes sure enough or ceases to be, and the mean probability hardly moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.galleries.calibration import Calibration

LEAST_AGREEMENT = 0.995  # of top-1 labels, and of what is sure enough
MOST_MOVED = 0.01  # in the mean probability
FEWEST_QUERIES, FEWEST_LABELS = 20, 2
MIN_PRECISION = 0.9  # the default of a recognition

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How alike two precisions answer, as fractions of `queries`; `moved` is the mean change of a probability."""

    queries: int
    same_label: float
    same_decision: float
    moved: float

    @property
    def passes(self) -> bool:
        """Whether the lesser precision may be used."""
        alike = min(self.same_label, self.same_decision)
        return alike >= LEAST_AGREEMENT and self.moved <= MOST_MOVED


def enough(labels: Sequence[str]) -> bool:
    """Whether a gallery with these labels, one a picture, says anything."""
    return 2 * len(labels) >= FEWEST_QUERIES and len(set(labels)) >= FEWEST_LABELS


def agreement(
    labels: Sequence[str], full: tuple[Rows, Rows], lesser: tuple[Rows, Rows], calibration: Calibration
) -> Agreement:
    """Of the gallery's rows (N, D) and its queries' (2N, D), pictures first and then their views, in both precisions."""
    at_least = calibration.threshold_for(MIN_PRECISION)
    ours, theirs = _answers(labels, *full, calibration), _answers(labels, *lesser, calibration)
    same = [one[0] == other[0] for one, other in zip(ours, theirs, strict=True)]
    decided = [(one[1] >= at_least) == (other[1] >= at_least) for one, other in zip(ours, theirs, strict=True)]
    moved = [abs(one[1] - other[1]) for one, other in zip(ours, theirs, strict=True)]
    return Agreement(len(ours), float(np.mean(same)), float(np.mean(decided)), float(np.mean(moved)))


def _answers(labels: Sequence[str], gallery: Rows, queries: Rows, calibration: Calibration) -> list[tuple[str, float]]:
    """The label on top of each query, its own picture left out, and how likely it is right."""
    names, places = np.unique(np.asarray(labels), return_inverse=True)
    similarities = queries @ gallery.T
    own = np.arange(len(queries)) % len(gallery)
    similarities[np.arange(len(queries)), own] = -np.inf
    best = np.full((len(queries), len(names)), -np.inf, np.float32)
    np.maximum.at(best.T, places, similarities.T)
    found = []
    for query, scores in enumerate(best):
        order = np.argsort(-scores, kind="stable")
        first, second = int(order[0]), int(order[1])
        pictures = int((places == first).sum()) - int(places[own[query]] == first)
        rival = float(scores[second]) if np.isfinite(scores[second]) else None
        found.append((str(names[first]), calibration.probability(float(scores[first]), rival, max(1, pictures))))
    return found


def same_boxes(full: Sequence[Sequence[tuple[int, ...]]], lesser: Sequence[Sequence[tuple[int, ...]]]) -> float:
    """The fraction of pictures whose best box of fp32 is found again, by half of both together or more."""
    alike = []
    for ours, theirs in zip(full, lesser, strict=True):
        if not ours:
            alike.append(not theirs)
        else:
            alike.append(any(_iou(ours[0], one) >= 0.5 for one in theirs))
    return float(np.mean(alike)) if alike else 1.0


def _iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

"""The embedder's own calibration: fitted on galleries of many shapes, so that it holds on ones that it never saw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.galleries.calibration import (
    GRID,
    RIDGE,
    Calibration,
    domain,
    features,
    from_threshold,
    query_weights,
)
from models.galleries.calibration_queries import LEFT_OUT, REAL, UNRELATED, VIEW, Collector, Observations
from models.galleries.label_scores import NEIGHBOURS, LabelScores
from models.galleries.logistic import SMALL, fit_logistic, information, sigmoid
from models.training.data.photos import DatasetError

Rows = NDArray[np.float32]

PICTURES = (1, 2, 3, 5, 10, 30)  # of a label, in the galleries that are made
LABEL_FRACTIONS = (1.0, 0.4, 0.1)  # of the labels, the others being unknown
CARELESS = 0.25  # of the galleries may fall short of the precision that a threshold promises
FEWEST_LABELS, FEWEST_QUERIES = 4, 20
MOST_QUERIES = 400  # of one gallery, of each kind


@dataclass(frozen=True)
class LabelledRows:
    """Embeddings (N, D) of labelled pictures. `gallery` (N,) marks those that may be enrolled; none marked: all may be.

    `views` (N, D) are embeddings of an augmented view of each picture.
    """

    name: str
    rows: Rows
    labels: NDArray[np.int64]
    gallery: NDArray[np.bool_] | None = None
    views: Rows | None = None


def fit_embedder(
    sets: Sequence[LabelledRows], unknowns: Rows, similarity_threshold: float, seed: int = 0
) -> Calibration:
    """The calibration that an embedder ships with. Galleries with one to many pictures a label are made of the `sets`.

    `unknowns` (U, D) are embeddings of unrelated pictures; labels that a gallery lacks are unknown queries too. Raises
    DatasetError if no gallery can be made of the sets.
    """
    seen = [one for each in sets for one in simulated(each, unknowns, np.random.default_rng(seed))]
    if not seen:
        raise DatasetError("no evaluation set has enough labels with enough pictures for a gallery")
    rivals = np.concatenate([one.of(REAL).rivals for one in seen])
    rival = float(np.nanmedian(rivals)) if np.isfinite(rivals).any() else similarity_threshold
    start = from_threshold(similarity_threshold)
    inputs, right, weights = _stacked([domain(one, REAL) for one in seen], rival)
    ridge = RIDGE * len(seen) * np.eye(4)
    fitted = fit_logistic(inputs, right, weights, np.array(start.weights), ridge)
    fitted[1:3] = np.maximum(fitted[1:3], 0)
    viewed, view_right, view_weights = _stacked([domain(one, VIEW) for one in seen], rival)
    view = np.zeros(2)
    if len(viewed):
        view = fit_logistic(viewed[:, :2], view_right, view_weights, view, ridge[:2, :2], viewed @ fitted)
    curve = careful_curve([domain(one, REAL) for one in seen], fitted, rival)
    firm = information(inputs, weights, fitted)
    return replace(
        start,
        weights=tuple(fitted.tolist()),
        view=tuple(view.tolist()),
        rival=rival,
        information=tuple(tuple(row) for row in firm.tolist()),
        curve=curve,
        queries=int(sum(len(one.kinds) for one in seen)),
    )


def careful_curve(
    parts: Sequence[Observations], fitted: NDArray[np.float64], rival: float
) -> tuple[tuple[float, float, float], ...]:
    """At each probability the mean fraction answered, and the precision that all but CARELESS of the galleries reached.

    By what was right, not by what was expected to be: a threshold must hold on galleries that differ from these.
    """
    answered, precision = [], []
    for part in parts:
        fractions, weights = sigmoid(features(part, rival) @ fitted), query_weights(part)
        given = fractions[None] >= np.array(GRID)[:, None]  # (T, N)
        amount, right = given @ weights, given @ (weights * part.right)
        answered.append(amount / weights.sum())
        precision.append(np.where(amount > 0, right / np.maximum(amount, SMALL), np.nan))
    fractions = np.mean(answered, axis=0)
    reached = [
        float(np.quantile(column[np.isfinite(column)], CARELESS)) if np.isfinite(column).any() else probability
        for probability, column in zip(GRID, np.array(precision).T, strict=True)
    ]
    return tuple((p, float(s), float(s * r)) for p, s, r in zip(GRID, fractions, reached, strict=True))


def simulated(known: LabelledRows, unknowns: Rows, rng: np.random.Generator) -> Iterator[Observations]:
    """What galleries made of one set answer, a gallery at a time: so many pictures a label, of so many of the labels."""
    may = np.ones(len(known.labels), bool)
    if known.gallery is not None and known.gallery.any():
        may = known.gallery
    most = int(np.bincount(known.labels[may]).max())
    for pictures in [count for count in PICTURES if count == 1 or count <= most]:
        for fraction in LABEL_FRACTIONS:
            labels = rng.permutation(np.unique(known.labels[may]))
            labels = labels[: round(fraction * len(labels))]
            enrolled = [
                rng.permutation(np.flatnonzero(may & (known.labels == label)))[:pictures] for label in labels.tolist()
            ]
            if len(labels) < FEWEST_LABELS:
                continue
            found = query_gallery(known, np.concatenate(enrolled), unknowns, rng)
            if (found.kinds == REAL).sum() >= FEWEST_QUERIES:
                yield found


def query_gallery(
    known: LabelledRows, enrolled: NDArray[np.int64], unknowns: Rows, rng: np.random.Generator
) -> Observations:
    """The answers of a gallery of the `enrolled` rows to the other pictures, their labels' or not, and to `unknowns`.

    Rows that may be enrolled only are no queries. Every query with a label is searched again without it.
    """
    labels = [str(label) for label in known.labels[enrolled].tolist()]
    items = known.rows[enrolled]
    scorer = LabelScores(labels, items)
    query_rows = np.setdiff1d(np.arange(len(known.labels)), enrolled)
    if known.gallery is not None and known.gallery.any():
        query_rows = query_rows[~known.gallery[query_rows]]
    inside = np.isin(known.labels[query_rows], known.labels[enrolled])
    seen = Collector([])

    def search(queries: Rows, own: Sequence[str | None], kind: int, *, again: bool) -> None:
        for query, label in zip(queries, own, strict=True):
            similarities = items @ query
            places = np.argsort(-similarities, kind="stable")[:NEIGHBOURS]
            near = similarities[places]
            seen.take(scorer.score(query, places, near), label, kind)
            if again and label in scorer.names:
                item = int(np.flatnonzero(scorer.codes == scorer.names.index(label))[0])
                seen.take(scorer.score(query, places, near, item, without_label=True), None, LEFT_OUT)

    real = rng.permutation(query_rows[inside])[:MOST_QUERIES]
    search(known.rows[real], [str(label) for label in known.labels[real].tolist()], REAL, again=True)
    outside = rng.permutation(query_rows[~inside])[:MOST_QUERIES]
    search(known.rows[outside], [None] * len(outside), LEFT_OUT, again=False)
    if known.views is not None:
        alone = enrolled[scorer.counts[scorer.codes] == 1][:MOST_QUERIES]
        search(known.views[alone], [str(label) for label in known.labels[alone].tolist()], VIEW, again=False)
    chosen = rng.permutation(len(unknowns))[: MOST_QUERIES // 2]
    search(unknowns[chosen], [None] * len(chosen), UNRELATED, again=False)
    return seen.done()


def _stacked(
    parts: Sequence[Observations], rival: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Features, right or wrong, and weights of all parts; each part weighs as much as a mean one."""
    parts = [part for part in parts if len(part.kinds)]
    if not parts:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    weights = [query_weights(part) for part in parts]
    mean = float(np.mean([one.sum() for one in weights]))
    return (
        np.concatenate([features(part, rival) for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([one * mean / one.sum() for one in weights]),
    )

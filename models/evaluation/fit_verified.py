"""What agreeing local features make of a probability, fitted on galleries of photos whose features are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.fit_calibration import LabelledRows
from models.galleries.calibration import Calibration, query_weights
from models.galleries.calibration_queries import LEFT_OUT, REAL, Observations
from models.galleries.gallery import Gallery
from models.galleries.logistic import fit_logistic
from models.recognition.decide import Part, candidates_of
from models.recognition.second_look import Agrees, Look, Verifies, compare, in_doubt, standings

PICTURES = (1, 2, 3)  # of a label, in the galleries that are made
MOST_QUERIES = 150  # of one gallery: each is compared with several items
COMPARED = 5  # items, as `verify_top`
PRIOR = 2.0  # queries that the built-in parameters count like
ROUNDS = 3  # which label is first after a second look follows from the parameters that are fitted
FEWEST_IN_DOUBT = 30  # queries; with less the fit is to all


@dataclass(frozen=True)
class Verified:
    """Queries after a second look (N,): the logit before it, inliers of the first label and of the next, right or wrong."""

    logits: NDArray[np.float64]
    inliers: NDArray[np.float64]
    rival_inliers: NDArray[np.float64]
    right: NDArray[np.float64]
    kinds: NDArray[np.int64]


@dataclass(frozen=True)
class Compared:
    """A query that was looked at twice. `label` is the right one, None where none of the gallery's is."""

    part: Part
    looks: dict[str, Look]
    label: str | None


@dataclass(frozen=True)
class _Item:
    id: str
    label: str


class _StoredFeatures:
    """A verifier of pictures whose features are there already; a query is its row's number."""

    def __init__(self, verifier: Verifies, features: Sequence[Any]) -> None:
        self._verifier, self._features = verifier, features

    def describe(self, row: Any, /) -> Any:
        return self._features[row]

    def agree(self, query: Any, item: Any, /) -> Agrees:
        return self._verifier.agree(query, item)


def fit_verified(
    calibration: Calibration, known: Sequence[tuple[LabelledRows, Sequence[Any]]], verifier: Verifies, seed: int = 0
) -> Calibration:
    """`calibration` with its `verified` parameters fitted to the sets, each with the local features of its pictures.

    Queries are searched in galleries with one to three pictures a label, and of the same without their label. The fit is to
    those that are in doubt, as served (`second_look.in_doubt`): what is sure or hopeless is not looked at. The first
    label is that of the answer's order by the parameters of the round before.
    """
    rng = np.random.default_rng(seed)
    compared = [
        compared
        for rows, features in known
        for pictures in PICTURES
        if (compared := query_verified(calibration, rows, features, verifier, pictures, rng))
    ]
    if sum(in_doubt(one.part) for some in compared for one in some) >= FEWEST_IN_DOUBT:
        compared = [[one for one in some if in_doubt(one.part)] for some in compared]
    fitted = calibration
    for _ in range(ROUNDS):
        seen = [one for one in (observed(some, fitted) for some in compared) if len(one.right)]
        if not seen:
            return calibration
        inputs = np.concatenate([verified_inputs(one) for one in seen])
        weights = np.concatenate([_weights(one) for one in seen])
        right = np.concatenate([one.right for one in seen])
        found = fit_logistic(inputs, right, weights, np.array(calibration.verified), PRIOR * np.eye(4))
        found[0] = max(found[0], 0.0)
        fitted = replace(calibration, verified=tuple(found.tolist()))
    return fitted


def query_verified(
    calibration: Calibration,
    known: LabelledRows,
    features: Sequence[Any],
    verifier: Verifies,
    pictures: int,
    rng: np.random.Generator,
) -> list[Compared]:
    """Photos searched in a gallery with so many pictures a label, all looked at twice; and again without their label."""
    labels = np.unique(known.labels)
    enrolled = np.concatenate([rng.permutation(np.flatnonzero(known.labels == one))[:pictures] for one in labels])
    queries = rng.permutation(np.setdiff1d(np.arange(len(known.labels)), enrolled))[:MOST_QUERIES]
    shim = _StoredFeatures(verifier, features)
    items = [_Item(str(row), str(known.labels[row])) for row in enrolled.tolist()]
    whole = Gallery(items, known.rows[enrolled], features=lambda item_id: features[int(item_id)])
    compared: list[Compared] = []
    for query in queries.tolist():
        label = str(known.labels[query])
        kept = np.flatnonzero(known.labels[enrolled] != known.labels[query])
        rest = [items[at] for at in kept.tolist()]
        without = Gallery(rest, known.rows[enrolled[kept]], features=whole.features)
        for gallery, right in ((whole, label), (without, None)):
            (found,) = gallery.search_labels(known.rows[query : query + 1], COMPARED)
            part = Part((0, 0, 1, 1), None, "whole_image", found, candidates_of(found, calibration, gallery))
            looks = compare(part, partial(int, query), gallery, shim, COMPARED)
            if looks is not None:
                compared.append(Compared(part, looks, right))
    return compared


def observed(compared: Sequence[Compared], calibration: Calibration) -> Verified:
    """What is known of the first label of each query in the answer's order; none where that label was not compared."""
    rows: list[tuple[float, float, float, float, int]] = []
    for one in compared:
        first = standings(one.part, one.looks, calibration)[0]
        if first.inliers is None:
            continue
        logit = calibration.logit(first.candidate.similarity, first.rival, first.pictures)
        kind = LEFT_OUT if one.label is None else REAL
        right = float(first.candidate.label == one.label)
        rows.append((logit, float(first.inliers), float(first.rival_inliers), right, kind))
    table = np.array(rows, np.float64).reshape(-1, 5)
    logits, inliers, rivals, right_ones = table[:, :4].T
    return Verified(logits, inliers, rivals, right_ones, table[:, 4].astype(np.int64))


def verified_inputs(seen: Verified) -> NDArray[np.float64]:
    """(N, 4): what `Calibration.verified` weighs."""
    return np.stack(
        [seen.logits, np.ones(len(seen.logits)), np.log1p(seen.inliers), np.log1p(seen.rival_inliers)], axis=1
    )


def _weights(seen: Verified) -> NDArray[np.float64]:
    nothing = np.zeros(len(seen.right))
    return query_weights(Observations(nothing, nothing, nothing.astype(np.int64), seen.right, seen.kinds))

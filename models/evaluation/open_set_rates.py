"""Open-set identification: how many known queries are answered rightly where so many of the unknown ones are answered at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.fit_calibration import LabelledRows, Rows
from models.galleries.calibration import Calibration, fit
from models.galleries.calibration_queries import UNKNOWN_FRACTION
from models.galleries.label_scores import NEIGHBOURS, LabelScore, LabelScores

FALSE_POSITIVE_RATES = (0.01, 0.05, 0.1)
BINS = 10
WANTED = 0.9  # the default of `min_precision`


@dataclass(frozen=True)
class OpenAnswers:
    """The best label of each query (Q,): how likely and how alike, whether it is right, and whether one could be."""

    probabilities: NDArray[np.float64]
    similarities: NDArray[np.float64]
    right: NDArray[np.bool_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Rate:
    """`identified`: fraction of known queries answered rightly above `threshold`, which `answered` of the unknown ones pass."""

    identified: float
    threshold: float
    answered: float


def answer_openly(known: LabelledRows, unknowns: Rows, calibration: Calibration) -> OpenAnswers:
    """The set's gallery queried by its other rows, or, without one, by each row in turn; and without their labels too.

    Rows with a label that the gallery lacks are unknown queries, like `unknowns` (U, D). Where there are neither, every
    query is searched again without its label: then that is what is unknown.
    """
    alone = known.gallery is None or not known.gallery.any()
    enrolled = np.arange(len(known.labels)) if alone else np.flatnonzero(known.gallery)  # type: ignore[arg-type]
    query_rows = np.setdiff1d(np.arange(len(known.labels)), enrolled) if not alone else enrolled
    labels = [str(label) for label in known.labels[enrolled].tolist()]
    items = known.rows[enrolled]
    scorer = LabelScores(labels, items)
    answers: list[tuple[float, float, bool, bool]] = []

    def take(query: Rows, label: str | None, own: int | None, *, without: bool = False) -> None:
        similarities = items @ query
        places = np.argsort(-similarities, kind="stable")[:NEIGHBOURS]
        found = scorer.score(query, places, similarities[places], own, without_label=without)
        if not found:
            answers.append((0.0, -1.0, False, label is not None))
            return
        first = _probability(found, calibration)
        answers.append((first, found[0].score, found[0].label == label, label is not None))

    held = set(labels)
    unknown = len(unknowns)
    for at, row in enumerate(query_rows.tolist()):
        label, own = str(known.labels[row]), at if alone else None
        if label not in held:
            unknown += 1
            take(known.rows[row], None, own)
        elif not alone or int(scorer.counts[scorer.codes[at]]) > 1:  # a label's only picture has no right answer
            take(known.rows[row], label, own)
    for query in unknowns:
        take(query, None, None)
    if not unknown:
        for row in query_rows.tolist():
            item = labels.index(str(known.labels[row]))
            take(known.rows[row], None, item, without=True)
    table = np.array(answers, np.float64).reshape(-1, 4)
    return OpenAnswers(table[:, 0], table[:, 1], table[:, 2] > 0, table[:, 3] > 0)


def own_calibration(known: LabelledRows, unknowns: Rows, embedders: Calibration) -> Calibration:
    """What an enrolment of the set's gallery fits."""
    alone = known.gallery is None or not known.gallery.any()
    kept = np.ones(len(known.labels), bool) if alone else known.gallery
    labels = [str(label) for label in known.labels[kept].tolist()]
    return fit(labels, known.rows[kept], None if known.views is None else known.views[kept], unknowns, embedders)


def identification_rate(scores: NDArray[np.float64], answers: OpenAnswers, false_positive_rate: float) -> Rate:
    """At the lowest threshold that at most that fraction of the unknown queries pass. NaN without known or unknown ones."""
    unknown = np.sort(scores[~answers.known])[::-1]
    if not len(unknown) or not answers.known.any():
        return Rate(float("nan"), float("nan"), float("nan"))
    allowed = int(false_positive_rate * len(unknown) + 1e-9)
    threshold = unknown[allowed] if allowed < len(unknown) else -np.inf  # what is above it is answered
    passed = scores > threshold
    return Rate(
        float((passed & answers.right)[answers.known].mean()), float(threshold), float(passed[~answers.known].mean())
    )


def calibration_error(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> float:
    """The expected calibration error (Guo et al., arXiv:1706.04599): the mean distance of probability and fraction of right
    answers, over BINS bins of equal width."""
    weight = np.ones(len(right)) if weights is None else weights
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [abs(float((weight * (probabilities - right))[bins == each].sum())) for each in range(BINS)]
    return sum(gaps) / float(weight.sum()) if len(right) else float("nan")


def open_weights(answers: OpenAnswers) -> NDArray[np.float64]:
    """(Q,) so that the unknown queries are UNKNOWN_FRACTION of all, as the calibration takes them to be."""
    weights = np.ones(len(answers.known))
    unknown = int((~answers.known).sum())
    if unknown and answers.known.any():
        weights[~answers.known] = answers.known.sum() * UNKNOWN_FRACTION / (1 - UNKNOWN_FRACTION) / unknown
    return weights


def open_set_metrics(answers: OpenAnswers, calibration: Calibration, wanted: float = WANTED) -> dict[str, float | None]:
    """The metrics, as a manifest's `metrics` and `shitu evaluate open-set` have them; None for what cannot be measured."""
    weights = open_weights(answers)
    given = answers.probabilities >= calibration.threshold_for(wanted)
    amount = float(weights[given].sum())
    metrics: dict[str, float] = {
        f"identified@fpr{rate:g}": identification_rate(answers.probabilities, answers, rate).identified
        for rate in FALSE_POSITIVE_RATES
    }
    for rate in FALSE_POSITIVE_RATES:
        by_similarity = identification_rate(answers.similarities, answers, rate)
        metrics[f"identified@fpr{rate:g} by similarity"] = by_similarity.identified
    nan = float("nan")
    metrics["calibration_error"] = calibration_error(answers.probabilities, answers.right, weights)
    metrics[f"precision@{wanted:g}"] = float((weights * answers.right)[given].sum()) / amount if amount else nan
    metrics[f"answered_right@{wanted:g}"] = (
        float((given & answers.right)[answers.known].mean()) if answers.known.any() else nan
    )
    metrics["recall@1"] = float(answers.right[answers.known].mean()) if answers.known.any() else nan
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in metrics.items()}


def _probability(found: Sequence[LabelScore], calibration: Calibration) -> float:
    return calibration.probability(found[0].score, found[1].score if len(found) > 1 else None, found[0].pictures)

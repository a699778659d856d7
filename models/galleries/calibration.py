"""How sure an answer is: the probability that it is right, and from which probability on answers are given.

A logistic model over what a query's labels score, fitted for every version of a gallery by queries that its own items make
(`models.galleries.calibration_queries`), around the embedder's own fit, which comes from many galleries with real photos.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.errors import GalleryError
from models.galleries.calibration_queries import REAL, UNKNOWN_FRACTION, UNKNOWN_KINDS, VIEW, Observations, own_queries
from models.galleries.logistic import fit_logistic, sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.galleries.label_scores import LabelScore

    Values = NDArray[np.float64]

SCHEMA = 1
FEWEST_QUERIES, FEWEST_LABELS = 20, 3  # a gallery with less is too small for its own fit
PRIOR_QUERIES = 100.0  # the embedder's fit counts like so many queries of the gallery
CURVE_QUERIES = 600.0  # the same for how many answers are right from a probability on: a gallery's own photos are alike
VIEW_WEIGHT = 0.25  # an augmented view counts like so much of a second photo
LEAST_PROBABILITY = 0.5  # what is likelier wrong than right is no answer, whatever precision is wanted
WIDEST_GAP = 0.5
GRID = (*(round(0.5 + step / 100, 2) for step in range(50)), 0.993, 0.995, 0.997, 0.999)
RIDGE = 1e-3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """A fitted model of P(answer is right). Its logit is `weights` times (1, score - 0.5, gap, log pictures).

    `verified` is (scale of that logit, constant, log(1 + inliers), log(1 + inliers of the next best label)), the logit
    once an answer was verified. `view` is added to the first two weights for an augmented view as the query, which is
    easier than a photo. `rival` replaces the next label's score where a gallery has one label. `information` (4, 4) is how
    firmly a query holds the weights; `curve` has rows (probability, fraction of queries answered from it on, fraction
    answered rightly). `queries` is how many queries it was fitted to.
    """

    source: Literal["gallery", "embedder", "uncalibrated"]
    weights: tuple[float, ...]
    view: tuple[float, ...] = (0.0, 0.0)
    verified: tuple[float, ...] = (1.0, 0.0, 0.5, 0.0)  # unfitted: what agrees speaks for a label, nothing against one
    rival: float = 0.3
    information: tuple[tuple[float, ...], ...] = (
        (0.1, 0.0, 0.0, 0.0),
        (0.0, 0.003, 0.0, 0.0),
        (0.0, 0.0, 0.001, 0.0),
        (0.0, 0.0, 0.0, 0.05),
    )
    curve: tuple[tuple[float, float, float], ...] = ()
    queries: int = 0

    def probabilities(self, labels: Sequence[LabelScore], most: int) -> list[float]:
        """How likely each of the first `most` of a query's labels, best first, is right; together at most 1."""
        scores = [one.score for one in labels[: max(most, 2)]]
        found: list[float] = []
        for at, label in enumerate(labels[:most]):
            rivals = scores[:at] + scores[at + 1 :]
            found.append(self.probability(label.score, max(rivals) if rivals else None, label.pictures))
        return shared(found)

    def probability(self, score: float, rival: float | None, pictures: int) -> float:
        """How likely the label with that score is right, `rival` being the best score of another label."""
        return float(sigmoid(np.array([self.logit(score, rival, pictures)]))[0])

    def verified_probability(
        self, score: float, rival: float | None, pictures: int, inliers: int, rival_inliers: int
    ) -> float:
        """The same once local features were compared: so many agree with the label, and with the next best label."""
        scale, constant, agree, disagree = self.verified
        logit = scale * self.logit(score, rival, pictures) + constant
        logit += agree * math.log1p(inliers) + disagree * math.log1p(rival_inliers)
        return float(sigmoid(np.array([logit]))[0])

    def threshold_for(self, min_precision: float) -> float:
        """The least probability to answer with, so that of the answers given `min_precision` are expected to be right.

        It never falls when `min_precision` rises. An answer that is likelier wrong than right is never given.
        """
        enough = max(min_precision, LEAST_PROBABILITY)  # if each answer is that likely, all together are
        for probability, answered, right in self.curve:
            if probability >= enough:
                break
            if right >= min_precision * answered and answered > 0:
                return probability
        return enough

    def logit(self, score: float, rival: float | None, pictures: int) -> float:
        """Of the probability, before anything was verified."""
        gap = score - (self.rival if rival is None else rival)
        one, by_score, by_gap, by_pictures = self.weights
        gap = min(max(gap, -WIDEST_GAP), WIDEST_GAP)
        return one + by_score * (score - 0.5) + by_gap * gap + by_pictures * math.log(max(1, pictures))

    def to_dict(self) -> dict[str, Any]:
        """As JSON, in a gallery version's manifest and in a model's."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Calibration:
        """Reads `to_dict`. Raises GalleryError for anything else."""
        try:
            if table["schema"] != SCHEMA or table["source"] not in ("gallery", "embedder"):
                raise ValueError("another schema")
            curve = tuple((p, answered, right) for p, answered, right in (_numbers(r, 3) for r in table["curve"]))
            if curve and tuple(row[0] for row in curve) != GRID:
                raise ValueError("other probabilities")  # curves are blended row by row
            return cls(
                source=table["source"],
                weights=_numbers(table["weights"], 4),
                view=_numbers(table["view"], 2),
                verified=_numbers(table["verified"], 4),
                rival=_numbers([table["rival"]], 1)[0],
                information=tuple(_numbers(row, 4) for row in _sized(table["information"], 4)),
                curve=curve,
                queries=int(table["queries"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise GalleryError("A calibration is damaged, or of another version of ShiTu.") from error


def stored_calibration(table: Mapping[str, Any] | None, gallery: str) -> Calibration | None:
    """What was fitted to a gallery's version, as its manifest has it; None: the embedder's own holds.

    It does for a gallery from before there was a calibration, and for one by another version of ShiTu, which is logged.
    """
    if table is None:
        return None
    try:
        return Calibration.from_dict(table)
    except GalleryError as error:
        log.warning("the embedder's calibration is used", extra={"gallery": gallery, "why": error.detail})
        return None


def from_threshold(similarity: float) -> Calibration:
    """The built-in model of an embedder without a fit: at the similarity that it advises, 9 of 10 answers are right."""
    slope = 15.0
    return Calibration("embedder", (math.log(9) + slope * (0.5 - similarity), slope, 0.0, 0.0), rival=similarity)


def fit(
    labels: Sequence[str],
    embeddings: NDArray[np.float32],
    views: NDArray[np.float32] | None,
    unknowns: NDArray[np.float32],
    fallback: Calibration,
    things: Sequence[int] | None = None,
) -> Calibration:
    """The calibration of a gallery with these items, row by row, from queries that they make themselves.

    `embeddings` (N, D) are unit vectors; `views` (N, D) those of one augmented view of each picture, a row of zeros or
    None where there is none: the query of a label with one picture. `unknowns` (U, D) are queries with no right answer.
    `fallback`, the embedder's own fit, is what the answer is pulled to, and is the answer for a gallery too small. `things`:
    the number of the thing that each item shows, from 0 on, where pictures are fused. The same input gives the same answer. Raises GalleryError for rows that do not fit the labels.
    """
    if (
        embeddings.ndim != 2
        or len(embeddings) != len(labels)
        or (views is not None and views.shape != embeddings.shape)
    ):
        raise GalleryError(
            f"{len(labels)} labels do not fit embeddings of the shape {embeddings.shape} and their views."
        )
    if unknowns.ndim != 2 or (len(unknowns) and unknowns.shape[1] != embeddings.shape[1]):
        raise GalleryError(f"The unknown queries have the shape {unknowns.shape}, the gallery {embeddings.shape}.")
    for rows, what in ((embeddings, "embeddings"), (views, "views"), (unknowns, "unknown queries")):
        if rows is not None and not (rows.dtype.kind == "f" and np.isfinite(rows).all()):
            raise GalleryError(f"The {what} are not made of finite floats.")
    if len(set(labels)) < FEWEST_LABELS:
        return fallback
    if things is not None and len(things) != len(labels):
        raise GalleryError(f"{len(labels)} labels do not fit {len(things)} things.")
    seen = own_queries(labels, embeddings, views, unknowns, things)
    if int(np.isin(seen.kinds, (REAL, VIEW)).sum()) < FEWEST_QUERIES:
        return fallback
    parts = [domain(seen, kind) for kind in (REAL, VIEW)]
    inputs = [features(part, fallback.rival) for part in parts]
    weights = [query_weights(part) * scale for part, scale in zip(parts, (1.0, VIEW_WEIGHT), strict=True)]
    offset = np.concatenate([np.zeros(len(inputs[0])), inputs[1][:, :2] @ np.array(fallback.view)])
    precision = PRIOR_QUERIES * np.array(fallback.information) + RIDGE * np.eye(4)
    right = np.concatenate([part.right for part in parts])
    around = np.array(fallback.weights)
    fitted = fit_logistic(np.concatenate(inputs), right, np.concatenate(weights), around, precision, offset)
    fitted[1:3] = np.maximum(fitted[1:3], 0)  # more alike is never less likely
    made = replace(fallback, source="gallery", weights=tuple(fitted.tolist()), queries=len(seen.kinds))
    real = float((seen.kinds == REAL).sum())
    if not real:  # views are too easy to show how many answers there will be
        return made
    own = curve_of(inputs[0] @ fitted, weights[0])
    return replace(made, curve=blended(own, real, fallback.curve or own, CURVE_QUERIES))


def domain(seen: Observations, kind: int) -> Observations:
    """The queries that are photos, or those that are views, each with the unknown ones; none where there are none."""
    return seen.of(kind, *UNKNOWN_KINDS) if (seen.kinds == kind).any() else seen.of()


def features(seen: Observations, rival: float) -> Values:
    """(N, 4): 1, score - 0.5, gap to the next label, log of the label's pictures."""
    gaps = seen.scores - np.where(np.isnan(seen.rivals), rival, seen.rivals)
    return np.stack(
        [
            np.ones(len(seen.scores)),
            seen.scores - 0.5,
            np.clip(gaps, -WIDEST_GAP, WIDEST_GAP),
            np.log(np.maximum(seen.pictures, 1)),
        ],
        axis=1,
    )


def query_weights(seen: Observations) -> Values:
    """(N,) how much each query counts: unknown ones make up UNKNOWN_FRACTION together, each kind of them the same part."""
    weights = np.ones(len(seen.kinds))
    unknown = np.isin(seen.kinds, UNKNOWN_KINDS)
    there = [kind for kind in UNKNOWN_KINDS if (seen.kinds == kind).any()]
    for kind in there:
        which = seen.kinds == kind
        weights[which] = (~unknown).sum() * UNKNOWN_FRACTION / (1 - UNKNOWN_FRACTION) / len(there) / which.sum()
    return weights


def curve_of(logits: Values, weights: Values) -> tuple[tuple[float, float, float], ...]:
    """At each probability of GRID the fraction of queries answered from there on, and the fraction expected to be right."""
    probabilities, total = sigmoid(logits), float(weights.sum())
    rows = []
    for probability in GRID:
        answered = probabilities >= probability
        right = float((weights * probabilities)[answered].sum())
        rows.append((probability, float(weights[answered].sum()) / total, right / total))
    return tuple(rows)


def blended(
    one: tuple[tuple[float, float, float], ...],
    one_weight: float,
    other: tuple[tuple[float, float, float], ...],
    other_weight: float,
) -> tuple[tuple[float, float, float], ...]:
    """Two curves of the same probabilities as one."""
    part = one_weight / (one_weight + other_weight)
    return tuple(
        (p, part * answered + (1 - part) * others, part * right + (1 - part) * theirs)
        for (p, answered, right), (_, others, theirs) in zip(one, other, strict=True)
    )


def shared(probabilities: Sequence[float]) -> list[float]:
    """Of answers that exclude each other, the first as it is and the others cut to what is left."""
    first, rest = list(probabilities[:1]), list(probabilities[1:])
    total = sum(rest)
    left = max(0.0, 1 - sum(first))
    scale = min(1.0, left / total) if total > 0 else 1.0
    return first + [value * scale for value in rest]


def _sized(values: Any, count: int) -> Any:
    if len(values) != count:
        raise ValueError("another length")
    return values


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    found = tuple(float(value) for value in _sized(values, count))
    if not all(math.isfinite(value) for value in found):
        raise ValueError("not finite")
    return found

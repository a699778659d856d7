"""`shitu evaluate open-set`: lists of known queries and of unknown ones, searched in a gallery as the service answers them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.enrolment import embed_lone_views
from models.evaluation.fit_calibration import LabelledRows
from models.evaluation.open_set_rates import OpenAnswers, answer_openly, open_set_metrics, own_calibration
from models.evaluation.retrieval import Progress, embed_photos
from models.galleries.calibration import Calibration
from models.training.data.photos import Photo, read_rgb

if TYPE_CHECKING:
    from models.embedder import Embedder


@dataclass(frozen=True)
class OpenEvaluation:
    """What came of it, and by which calibration."""

    answers: OpenAnswers
    calibration: Calibration
    items: int


def evaluate_open_set(
    embed: "Embedder",
    queries: Sequence[Photo],
    gallery: Sequence[Photo] | None,
    unknown: Sequence[Photo],
    progress: Progress,
) -> OpenEvaluation:
    """The `queries` searched in the `gallery`, or among each other; `unknown` ones are queries too, whatever their labels are.

    The gallery's calibration is fitted as at an enrolment. Raises DatasetError, ModelError.
    """
    searched = queries if gallery is None else gallery
    everything = list(searched) if gallery is None else [*searched, *queries]
    ids = {label: number for number, label in enumerate(sorted({photo.label for photo in everything}))}
    rows = embed_photos(embed, searched, "gallery", progress)

    def read(at: int) -> tuple[NDArray[np.uint8], str]:
        return read_rgb(searched[at].path), hashlib.sha256(searched[at].path.read_bytes()).hexdigest()

    views = embed_lone_views([photo.label for photo in searched], read, embed)
    marks: NDArray[np.bool_] | None = None
    if gallery is not None:
        query_rows = embed_photos(embed, queries, "queries", progress)
        marks = np.arange(len(everything)) < len(rows)
        rows, views = np.concatenate([rows, query_rows]), np.concatenate([views, np.zeros_like(query_rows)])
    known = LabelledRows("list", rows, np.array([ids[photo.label] for photo in everything]), marks, views)
    calibration = own_calibration(known, embed.unknowns, embed.calibration)
    unknowns = embed_photos(embed, unknown, "unknown queries", progress) if unknown else rows[:0]
    return OpenEvaluation(answer_openly(known, unknowns, calibration), calibration, len(searched))


def describe(found: OpenEvaluation) -> dict[str, object]:
    """The metrics, and what they are of."""
    return {
        **open_set_metrics(found.answers, found.calibration),
        "known": int(found.answers.known.sum()),
        "unknown": int((~found.answers.known).sum()),
        "gallery": found.items,
        "calibration": found.calibration.source,
        "probability_threshold": round(found.calibration.threshold_for(0.9), 4),
    }

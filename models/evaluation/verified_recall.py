"""recall@1 after a second look: the nearest items are put in order again by the local features that agree.

Items are ordered by similarity and `rerank_bonus`, without a calibration: a measure of the features alone. The service
orders labels by their verified probability (`models.recognition.second_look.standings`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models import verification
from models.evaluation.photo_sets import PhotoEvalSet
from models.evaluation.retrieval import Progress
from models.training.data.photos import read_rgb
from models.vectors import unit_rows

FIRST = 5  # items that are looked at twice, as `verify_top`
MOST_QUERIES = 300  # of one set, evenly: a description of a photo takes longer than its embedding


def verified_recall(embeddings: NDArray[np.float32], split: PhotoEvalSet, progress: Progress) -> float:
    """recall@1 of one set's photos by their embeddings (N, D) and a second look at the first items of each query.

    At most MOST_QUERIES queries. Raises DatasetError for a photo that can't be read.
    """
    rows = unit_rows(embeddings)
    query_rows = np.flatnonzero(~split.gallery)
    items = np.flatnonzero(split.gallery) if split.gallery.any() else query_rows
    query_rows = query_rows[np.linspace(0, len(query_rows) - 1, min(MOST_QUERIES, len(query_rows))).astype(int)]
    similarities = rows[query_rows] @ rows[items].T
    similarities[query_rows[:, None] == items[None]] = -np.inf  # no photo is its own answer
    first = np.argsort(-similarities, axis=1, kind="stable")[:, :FIRST]
    stored: dict[int, verification.Features] = {}
    right = 0
    for number, (query, places) in enumerate(zip(query_rows.tolist(), first, strict=True)):
        progress(f"second look at {split.name}", number, len(query_rows))
        features = verification.describe(read_rgb(split.photos[query].path))
        scores = [
            similarity + verification.rerank_bonus(verification.agree(features, _stored(stored, split, row)).inliers)
            for row, similarity in zip(items[places].tolist(), similarities[number, places].tolist(), strict=True)
        ]
        right += int(_best_label(scores, items[places], split) == split.labels[query])
    progress(f"second look at {split.name}", len(query_rows), len(query_rows))
    return right / max(1, len(query_rows))


def _best_label(scores: Sequence[float], rows: NDArray[np.int64], split: PhotoEvalSet) -> int:
    return int(split.labels[rows[int(np.argmax(scores))]])


def _stored(known: dict[int, verification.Features], split: PhotoEvalSet, row: int) -> verification.Features:
    """An item's features as a gallery stores them."""
    if row not in known:
        packed = verification.pack(verification.describe(read_rgb(split.photos[row].path)))
        known[row] = verification.unpack(packed)
    return known[row]

"""Retrieval metrics over embeddings, by the definitions of PaddleClas' Recallk, mAP, mINP and Precisionk.

Rows are L2-normalised, similarity is the inner product. Means are over the queries that have a right answer at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.ranking import NO_MARK, Ranking, RowLabels, inner_products, nearest

Embeddings = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class OpenSet:
    """What a similarity threshold lets through, in fractions of the queries."""

    known: float  # answered, and rightly, with their label in the gallery
    unknowns: float  # answered although their label is not: each query is searched without its own label


def recall_at_1(queries: Embeddings, query_labels: Labels, gallery: Embeddings, gallery_labels: Labels) -> float:
    """Fraction of queries (Q, D) whose nearest gallery row (G, D) bears their label; those that no row can answer count."""
    found, _ = nearest(inner_products(queries, gallery), _row_labels(query_labels), _row_labels(gallery_labels), 1)
    return float((gallery_labels[found[:, 0]] == query_labels).mean())


def leave_one_out_recall_at_1(embeddings: Embeddings, labels: Labels) -> float:
    """Each row queries all others. Rows alone in their label have no right answer and are no queries; NaN if all do."""
    each = RowLabels(labels, np.arange(len(labels)))
    found, _ = nearest(inner_products(embeddings, embeddings), each, each, 1)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    query_count = counts[inverse] > 1
    right = labels[found[:, 0]] == labels
    return float(right[query_count].mean()) if query_count.any() else float("nan")


def retrieval_metrics(rankings: Iterable[Ranking], ks: Sequence[int] = (1, 5)) -> dict[str, float]:
    """`recall@k` and `precision@k` for each k, `retrieval_mAP` and `mINP`; NaN where no query has a right answer.

    recall@k: fraction of queries with a right row among the first k. precision@k: fraction of right rows among the first k.
    Average precision is the mean, over a query's right rows, of the precision at their ranks. mINP (Ye et al.,
    arXiv:2001.04193): how many right rows there are, by the rank of the last one.
    """
    hits = dict.fromkeys(ks, 0)
    precisions = dict.fromkeys(ks, 0.0)
    query_count, precision, inverse = 0, 0.0, 0.0
    for ranking in rankings:
        ranks = ranking.ranks
        if not ranks.size:
            continue
        query_count += 1
        precision += float((np.arange(1, ranks.size + 1) / (ranks + 1)).mean())
        inverse += ranks.size / (int(ranks[-1]) + 1)
        for k in ks:
            within = int(np.searchsorted(ranks, k))
            hits[k] += within > 0
            precisions[k] += within / k
    of = query_count or float("nan")
    return {
        **{f"recall@{k}": hits[k] / of for k in ks},
        "retrieval_mAP": precision / of,
        "mINP": inverse / of,
        **{f"precision@{k}": precisions[k] / of for k in ks},
    }


def open_set(rankings: Iterable[Ranking], threshold: float) -> OpenSet:
    """How a gallery answers at `threshold` those that it knows, and those that it does not.

    Each query is searched twice: with the rows of its label in the gallery, where it has any, and without them.
    """
    query_count = known = rightly = unknowns = 0
    for ranking in rankings:
        query_count += 1
        unknowns += ranking.wrong >= threshold
        known += ranking.ranks.size > 0
        rightly += ranking.right >= threshold and ranking.right > ranking.wrong
    nan = float("nan")
    return OpenSet(rightly / known if known else nan, unknowns / query_count if query_count else nan)


def _row_labels(labels: Labels) -> RowLabels:
    return RowLabels(labels, np.full(len(labels), NO_MARK))

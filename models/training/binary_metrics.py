"""Retrieval metrics over binary codes, by Hamming distance. Of equally near codes the wrong ones come first: ties earn nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.binary import hamming
from models.training.metrics import Labels, retrieval_metrics
from models.training.ranking import NO_MARK, Known, rank

Codes = NDArray[np.uint8]


def binary_metrics(
    queries: Codes, query_labels: Labels, gallery: Codes, gallery_labels: Labels, ks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """`recall@k`, `precision@k`, `retrieval_mAP` and `mINP` of packed codes (Q, B) in a gallery of codes (G, B)."""
    asked, searched = (Known(labels, np.full(len(labels), NO_MARK)) for labels in (query_labels, gallery_labels))
    return _metrics(queries, asked, gallery, searched, ks)


def leave_one_out_binary_metrics(codes: Codes, labels: Labels, ks: Sequence[int] = (1, 5)) -> dict[str, float]:
    """The same where each of the codes (N, B) asks all others."""
    each = Known(labels, np.arange(len(labels)))
    return _metrics(codes, each, codes, each, ks)


def _metrics(queries: Codes, asked: Known, gallery: Codes, searched: Known, ks: Sequence[int]) -> dict[str, float]:
    def nearness(some: slice) -> NDArray[np.float32]:
        return -hamming(queries[some], gallery).astype(np.float32)

    return retrieval_metrics(rank(nearness, asked, searched), ks)

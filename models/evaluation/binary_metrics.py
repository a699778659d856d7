"""Retrieval metrics over binary codes, by Hamming distance. Of equally near codes the wrong ones come first: ties score nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import Labels, retrieval_metrics
from models.evaluation.ranking import NO_MARK, RowLabels, Rows, Similarities, first, masked, rank
from models.galleries.binary import binarize, cosine_of, hamming

Codes = NDArray[np.uint8]

BELOW = np.float32(-2)  # below every cosine


def binary_metrics(
    queries: Codes, query_labels: Labels, gallery: Codes, gallery_labels: Labels, ks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """`recall@k`, `precision@k`, `retrieval_mAP` and `mINP` of packed codes (Q, B) in a gallery of codes (G, B)."""
    query_labels_of, searched = (
        RowLabels(labels, np.full(len(labels), NO_MARK)) for labels in (query_labels, gallery_labels)
    )
    return retrieval_metrics(rank(code_similarities(queries, gallery), query_labels_of, searched), ks)


def leave_one_out_binary_metrics(codes: Codes, labels: Labels, ks: Sequence[int] = (1, 5)) -> dict[str, float]:
    """The same where each of the codes (N, B) queries all others."""
    each = RowLabels(labels, np.arange(len(labels)))
    return retrieval_metrics(rank(code_similarities(codes, codes), each, each), ks)


def code_similarities(queries: Codes, gallery: Codes) -> Similarities:
    """What a binary gallery answers: `cosine_of` the distances, which falls with them."""
    return lambda some: cosine_of(hamming(queries[some], gallery), 8 * gallery.shape[1])


def embeddings_first(
    queries: Rows,
    gallery: Rows,
    query_labels_of: RowLabels,
    gallery_labels_of: RowLabels,
    count: int,
    *,
    unknowns: bool = False,
) -> Similarities:
    """Cosines of unit rows for the `count` nearest by binary codes; all others come after those, in the order of their codes.

    What `BinaryGallery` answers with `rerank`. What is masked is none of the nearest, nor is for `unknowns` what has the
    query's label; of equally near codes the wrong ones are taken first. Raises GalleryError where the rows (N, D) do not
    fill bytes.
    """
    codes, searched = binarize(queries), binarize(gallery)

    def similarities(some: slice) -> Rows:
        distances = hamming(codes[some], searched).astype(np.float32)
        right = query_labels_of.labels[some, None] == gallery_labels_of.labels
        left_out = masked(query_labels_of.marks[some], gallery_labels_of.marks) | (right & unknowns)
        near = first(np.asarray(np.where(left_out, np.inf, 2 * distances + right), np.float32), count)
        found = BELOW - distances
        cosines = np.asarray(queries[some] @ gallery.T, np.float32)
        np.put_along_axis(found, near, np.take_along_axis(cosines, near, axis=1), axis=1)
        return found

    return similarities

"""Retrieval metrics over embeddings. Rows are L2-normalised, similarity is the inner product."""

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
Labels = NDArray[np.int64]


def recall_at_1(queries: Embeddings, query_labels: Labels, gallery: Embeddings, gallery_labels: Labels) -> float:
    """Share of queries (Q, D) whose nearest gallery row (G, D) bears their label."""
    nearest = (queries @ gallery.T).argmax(axis=1)
    return float((gallery_labels[nearest] == query_labels).mean())


def leave_one_out_recall_at_1(embeddings: Embeddings, labels: Labels) -> float:
    """Each row asks all others. Rows whose label stands alone have no right answer and are not asked; NaN if all do."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    asked = counts[inverse] > 1
    right = labels[similarity.argmax(axis=1)] == labels
    return float(right[asked].mean()) if asked.any() else float("nan")

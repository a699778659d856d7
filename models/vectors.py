"""Rows of unit length, which embeddings are compared as."""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


def unit_rows(vectors: Features) -> Features:
    """Each row divided by its L2 norm; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)

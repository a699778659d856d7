"""A searchable gallery: embeddings in, the nearest labelled items out; by exact inner product (Faiss, flat)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.errors import GalleryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREADS = 1  # a photo's few queries gain nothing from more, and jobs run side by side


class LabeledItem(Protocol):
    """What a gallery knows of an item."""

    @property
    def id(self) -> str: ...

    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Match:
    """A near item; `similarity` is the inner product with the query, the cosine for unit vectors."""

    item: LabeledItem
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """As in a job's result. `image_key` is null for an item that does not come from an object store."""
        return {
            "label": self.item.label,
            "similarity": round(self.similarity, 6),
            "item_id": self.item.id,
            "image_key": getattr(self.item, "image_key", None),
        }


class Gallery:
    """Items and their embeddings (N, D), row by row. Immutable; many threads may search it at a time.

    `name` and `version` say where it came from. Raises GalleryError if the embeddings do not fit the items or are not
    finite.
    """

    def __init__(
        self, items: Sequence[LabeledItem], embeddings: NDArray[np.float32], name: str = "", version: int = 0
    ) -> None:
        rows = _matrix(embeddings, "embeddings")
        if len(rows) != len(items):
            raise GalleryError(f"A gallery of {len(items)} items cannot have {len(rows)} embeddings.")
        self.items = tuple(items)
        self.name = name
        self.version = version
        self.dim = rows.shape[1]
        self._index = _flat_index(rows) if len(rows) else None

    def __len__(self) -> int:
        return len(self.items)

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """For each of the queries (N, D) its `k` nearest items, or all if there are fewer, most similar first.

        Equally similar items come in any order. Raises GalleryError for queries of another dimension, queries that are
        not finite, and k < 1.
        """
        rows = _matrix(queries, "queries")
        if k < 1:
            raise GalleryError(f"k is {k}; at least one match must be asked for.")
        if self._index is None or not len(rows):
            return [[] for _ in rows]
        if rows.shape[1] != self.dim:
            raise GalleryError(f"The queries have {rows.shape[1]} dimensions, the gallery's embeddings {self.dim}.")
        # OpenMP keeps this number for each thread: it must be set where the search runs.
        faiss_module().omp_set_num_threads(THREADS)
        similarities, found = self._index.search(rows, min(k, len(self.items)))
        return [
            [Match(self.items[row], float(similarity)) for row, similarity in zip(near, values, strict=True)]
            for near, values in zip(found, similarities, strict=True)
        ]


def _flat_index(rows: NDArray[np.float32]) -> Any:
    index = faiss_module().IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def faiss_module() -> Any:
    """Faiss, imported at the first use: OpenMP that ran before a fork hangs after it."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells which build it loads, at every start
    import faiss

    return faiss


def _matrix(rows: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    found = np.ascontiguousarray(rows, dtype=np.float32)
    if found.ndim != 2 or (len(found) and not found.shape[1]):
        raise GalleryError(f"The {what} have the shape {found.shape} instead of (N, D).")
    if not np.isfinite(found).all():
        raise GalleryError(f"The {what} hold numbers that are not finite.")
    return found

"""A gallery searched by Hamming distance: 32 times smaller than its embeddings, and exact again where the first are re-ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.filters import meets
from models.errors import GalleryError
from models.galleries.binary import binarize, cosine_of, unpack
from models.galleries.binary_index import BinaryIndex
from models.galleries.gallery import Gallery
from models.galleries.items import CompactItems, labels_of, with_metadata
from models.galleries.label_scores import LabelScores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from models.galleries.calibration import Calibration
    from models.galleries.gallery import LabeledItem


class BinaryGallery(Gallery):
    """Items by the binary codes of their embeddings (N, D), D a multiple of 8. Immutable; many threads may search it at a time.

    `rerank` is how many of the nearest codes are put in order by the inner product of the embeddings, which are kept for
    it; with 0 they are not. A match's similarity is then that product, else `cosine_of` its distance, so thresholds for
    cosines stay of use; but nothing is calibrated on them (`calibratable`). `kind` is of `binary_index.KINDS`. Raises GalleryError.
    """

    def __init__(
        self,
        items: Sequence[LabeledItem],
        embeddings: NDArray[np.float32],
        name: str = "",
        version: int = 0,
        calibration: Calibration | None = None,
        features: Callable[[str], Any] | None = None,
        *,
        kind: str = "BFlat",
        rerank: int = 0,
        method: str = "sign",
    ) -> None:
        rows = np.asarray(embeddings, np.float32)
        dim = rows.shape[1] if rows.ndim == 2 else 0
        super().__init__(
            (), np.empty((0, dim), np.float32), name, version, calibration, features
        )  # no index of float embeddings
        if rerank < 0:
            raise GalleryError(f"rerank is {rerank}; it must be 0 or more.")
        if rows.ndim != 2 or len(rows) != len(items):
            raise GalleryError(f"A gallery of {len(items)} items cannot have embeddings of the shape {rows.shape}.")
        self.items = items if isinstance(items, CompactItems) else tuple(items)
        self.rerank, self.method = rerank, method
        self.calibratable = rerank > 0  # estimates from distances are spread otherwise, and labels have no means
        self._rows = rows.copy() if rerank else None
        # Mean vectors are float embeddings again: without them, labels are scored by their nearest codes alone.
        self._labels = LabelScores(list(labels_of(self.items)), self._rows)
        self._codes = None
        if len(rows):
            self._codes = BinaryIndex(dim, kind)
            self._codes.add(binarize(rows, method), np.arange(len(rows)))

    @property
    def summable(self) -> bool:
        """Never: similarities may be estimates, of which no mean is made."""
        return False

    def embeddings(self) -> NDArray[np.float32] | None:
        """(N, D) where reranking keeps them, else None."""
        return self._rows

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """(M, D) where reranking keeps the embeddings, else None."""
        return None if self._rows is None else self._rows[places]

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        """By the same codes, all of them compared, and the same re-ranking: of all that meet the filters."""
        places = np.array([at for at, metadata in with_metadata(self.items) if meets(metadata, filters)], np.int64)
        items = [self.items[at] for at in places]
        about = (self.name, self.version, self.calibration, self._features)
        rows = self.rows_at(places)
        if rows is not None:
            return BinaryGallery(items, rows, *about, rerank=self.rerank, method=self.method)
        codes = np.zeros((0, self.dim // 8), np.uint8) if self._codes is None else self._codes.codes_of(places)
        return BinaryGallery(items, unpack(codes), *about)  # which binarise to the codes

    def _breadth(self, k: int) -> int:
        return max(k, self.rerank) if self.rerank else super()._breadth(k)

    def _nearest(self, rows: NDArray[np.float32], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each of the rows its `k` nearest items' places and similarities, best first.

        Equally similar items come in any order, and where more are equally far than fit, any may be left out.
        """
        if self._codes is None or not len(rows):
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in rows]
        distances, places = self._codes.search(binarize(rows, self.method), max(k, self.rerank))
        similarities = cosine_of(distances, self.dim)
        return [
            self._ordered(query, near[near >= 0], values[near >= 0], k)
            for query, near, values in zip(rows, places, similarities, strict=True)
        ]

    def _ordered(
        self, query: NDArray[np.float32], places: NDArray[np.int64], similarities: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The first `k` of what the codes found for one query, which is put in order by the float embeddings where they are kept."""
        if self._rows is not None:
            similarities = self._rows[places] @ query
            order = np.argsort(-similarities, kind="stable")
            places, similarities = places[order], similarities[order]
        return places[:k], similarities[:k]

"""A searchable gallery: embeddings in, the nearest labelled items out; by exact inner product (Faiss, flat)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from contracts.filters import meets
from models.errors import GalleryError
from models.galleries.items import those_of
from models.galleries.label_scores import NEIGHBOURS, LabelScore, LabelScores

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from contracts import results
    from contracts.filters import Filter
    from models.galleries.calibration import Calibration

MOST_HELD = 20_000  # items of all filtered views that are kept with a gallery
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

    def to_dict(self) -> results.Match:
        """As in a job's result. `image_key` is null for an item that does not come from an object store."""
        return {
            "label": self.item.label,
            "similarity": round(self.similarity, 6),
            "item_id": self.item.id,
            "image_key": getattr(self.item, "image_key", None),
            **of_item(self.item),
        }


def of_item(item: LabeledItem) -> results.OfItem:
    """What only some items have: the gallery where several are searched as one, and metadata."""
    record: results.OfItem = {}
    if (name := getattr(item, "gallery", None)) is not None:
        record["gallery"] = name
    if metadata := getattr(item, "metadata", None):
        record["metadata"] = dict(metadata)
    return record


def gallery_of(item: LabeledItem) -> results.InGallery:
    """Which gallery has the item, where several are searched as one (models.galleries.joined)."""
    name: str | None = getattr(item, "gallery", None)
    return {} if name is None else {"gallery": name}


@dataclass(frozen=True)
class Found:
    """What a query found: its nearest items, and the labels of these and others nearby, both best first."""

    matches: tuple[Match, ...] = ()
    labels: tuple[LabelScore, ...] = ()


class Gallery:
    """Items and their embeddings (N, D), row by row. Immutable; many threads may search it at a time.

    `name` and `version` say where it came from. `calibration` gives how sure its answers are; without one the embedder's
    own does. `features` gives the local features of an item by its id, or None where there are none. Raises GalleryError if the
    embeddings do not fit the items or are not finite.
    """

    calibratable = True  # whether similarities are those that calibrations are fitted to

    def __init__(
        self,
        items: Sequence[LabeledItem],
        embeddings: NDArray[np.float32],
        name: str = "",
        version: int = 0,
        calibration: Calibration | None = None,
        features: Callable[[str], Any] | None = None,
    ) -> None:
        rows = _matrix(embeddings, "embeddings")
        if len(rows) != len(items):
            raise GalleryError(f"A gallery of {len(items)} items cannot have {len(rows)} embeddings.")
        self.items: Sequence[LabeledItem] = tuple(items)
        self.name = name
        self.version = version
        self.calibration = calibration
        self.dim = rows.shape[1]
        self._features = features
        self._views: dict[tuple[Filter, ...], Gallery] = {}
        self._views_guard = threading.Lock()
        self._index = _flat_index(rows) if len(rows) else None
        self._labels = LabelScores([item.label for item in self.items], rows)

    @property
    def outdated(self) -> bool:
        """Whether it can no longer be searched as it is, and is to be loaded again."""
        return False

    @property
    def summable(self) -> bool:
        """Whether its labels are scored by sums of its items' embeddings (`sums_of`)."""
        return True

    def __len__(self) -> int:
        return len(self.items)

    def find(self, item_id: str) -> LabeledItem | None:
        """The item with this id; None: there is none."""
        return self.find_all({item_id}).get(item_id)

    def find_all(self, ids: Collection[str]) -> dict[str, LabeledItem]:
        """The items with these ids. Large galleries find them without looking at the others."""
        return those_of(self.items, ids)

    def features(self, item_id: str) -> Any:
        """The local features of an item, as `models.verification.Features`, or None where there are none."""
        return None if self._features is None else self._features(item_id)

    def features_of(self, item: LabeledItem) -> Any:
        """The same of an item of this gallery."""
        return self.features(item.id)

    def embeddings(self) -> NDArray[np.float32] | None:
        """(N, D), a copy, row by row as the items are; None where they are not kept."""
        if self._index is None:
            return np.empty((0, self.dim), np.float32)
        return np.asarray(self._index.reconstruct_n(0, len(self.items)), np.float32)

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """(M, D): the embeddings of the items at these places; None where they are not kept."""
        if self._index is None:
            return np.empty((len(places), self.dim), np.float32)
        return np.asarray(self._index.reconstruct_batch(places), np.float32)

    def sums_of(self, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(L, D) and (L,): for each label the sum of its embeddings, and how many they are. Raises GalleryError."""
        return self._labels.sums_of(labels, self.dim, self.rows_at)

    def nearest_item(self, label: LabelScore) -> LabeledItem:
        """The nearest item of a label that this gallery found."""
        return self.items[label.place]

    def by_pictures(self) -> Gallery:
        """The gallery of the same items in which each picture is searched by itself."""
        return self

    def filtered(self, filters: Sequence[Filter]) -> Gallery:
        """The gallery of those items alone whose metadata meets all filters, searched exactly; this one without filters."""
        if not filters:
            return self
        with self._views_guard:
            if (known := self._views.get(tuple(filters))) is not None:
                return known
        view = self._filtered(filters)
        if len(view) <= MOST_HELD:
            with self._views_guard:
                self._views[tuple(filters)] = view
                while sum(map(len, self._views.values())) > MOST_HELD:
                    del self._views[next(iter(self._views))]
        return view

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        places = [at for at, item in enumerate(self.items) if meets(getattr(item, "metadata", None), filters)]
        items = [self.items[at] for at in places]
        rows = self.rows_at(np.array(places, np.int64))
        if rows is None:
            raise GalleryError("Without embeddings nothing can be searched exactly.")
        return Gallery(items, rows, self.name, self.version, self.calibration, self._features)

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """For each of the queries (N, D) its `k` nearest items, or all if there are fewer, most similar first.

        Equally similar items come in any order. Raises GalleryError for queries of another dimension, queries that are
        not finite, and k < 1.
        """
        return [self._matches(places, values) for places, values in self._nearest(self._checked(queries, k), k)]

    def search_labels(self, queries: NDArray[np.float32], k: int) -> list[Found]:
        """For each of the queries (N, D) its `k` nearest items and the labels nearby. Raises GalleryError as `search`."""
        rows = self._checked(queries, k)
        return [
            Found(tuple(self._matches(places[:k], values[:k])), tuple(self._labels.score(query, places, values)))
            for query, (places, values) in zip(rows, self._nearest(rows, self._breadth(k)), strict=True)
        ]

    def _breadth(self, k: int) -> int:
        """How many items the labels are scored by."""
        return max(k, NEIGHBOURS)

    def _checked(self, queries: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        rows = _matrix(queries, "queries")
        if k < 1:
            raise GalleryError(f"k is {k}; it must be 1 or more.")
        if self.items and len(rows) and rows.shape[1] != self.dim:
            raise GalleryError(f"The queries have {rows.shape[1]} dimensions, the gallery's embeddings {self.dim}.")
        return rows

    def _nearest(self, rows: NDArray[np.float32], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each of the rows its nearest items' places and similarities, best first."""
        if self._index is None or not len(rows):
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in rows]
        # OpenMP keeps this number for each thread: it must be set where the search runs.
        faiss_module().omp_set_num_threads(THREADS)
        similarities, found = self._index.search(rows, min(k, len(self.items)))
        return list(zip(found, similarities, strict=True))

    def _matches(self, places: NDArray[np.int64], similarities: NDArray[np.float32]) -> list[Match]:
        best = zip(places.tolist(), similarities.tolist(), strict=True)
        return [Match(self.items[place], value) for place, value in best]


def _flat_index(rows: NDArray[np.float32]) -> Any:
    index = faiss_module().IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def faiss_module() -> Any:
    """Faiss, imported at the first use: OpenMP that ran before a fork hangs after it."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it logs which build it loads, at every start
    import faiss

    return faiss


def _matrix(rows: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    try:
        given = np.asarray(rows)
    except (TypeError, ValueError) as error:
        raise GalleryError(f"The {what} are not an array of numbers (N, D).") from error
    if given.dtype.kind not in "fiu":  # text and complex numbers convert too, to something else
        raise GalleryError(f"The {what} are an array of {given.dtype} instead of float32.")
    found = np.ascontiguousarray(given, dtype=np.float32)
    if found.ndim != 2 or (len(found) and not found.shape[1]):
        raise GalleryError(f"The {what} have the shape {found.shape} instead of (N, D).")
    if not np.isfinite(found).all():
        raise GalleryError(f"The {what} hold NaN or infinite values.")
    return found

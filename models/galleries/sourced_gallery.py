"""A gallery of which nobody holds all items: sources that each find their nearest, merged by similarity.

A source may be a server (`worker.milvus_rows`) or a gallery in memory. Answers are those of one gallery of all items: the labels
are scored by the same rule (models.galleries.label_scores), from sums of rows that the sources give when a query needs them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.errors import GalleryError
from models.galleries.gallery import Found, Gallery, Match
from models.galleries.items import ItemRow
from models.galleries.joined import JoinedItem, named
from models.galleries.label_scores import EPSILON, LabelScore, LabelScores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from models.galleries.calibration import Calibration
    from models.galleries.gallery import LabeledItem

MOST_VIEWS = 64  # filtered views that are kept: each knows how many items it has, and none of them


class Source(Protocol):
    """Some items of a gallery. Immutable; many threads may use it at a time."""

    @property
    def outdated(self) -> bool:
        """Whether what it searches has gone meanwhile, so that the gallery is to be loaded again."""

    def __len__(self) -> int: ...

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """For each of the queries (Q, D) its `k` nearest items, best first."""

    def sums_of(self, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(L, D) and (L,): for each label the sum of its rows, and how many they are."""

    def find_all(self, ids: Collection[str]) -> dict[str, LabeledItem]:
        """The items with these ids."""

    def filtered(self, filters: Sequence[Filter]) -> Source:
        """Those items alone whose metadata meets all filters."""


@dataclass(frozen=True)
class LocalSource:
    """A gallery in memory that has its embeddings, as a source."""

    gallery: Gallery

    @property
    def outdated(self) -> bool:
        """Never."""
        return False

    def __len__(self) -> int:
        return len(self.gallery)

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """As the gallery's own search."""
        return self.gallery.search(queries, k) if len(self.gallery) else [[] for _ in queries]

    def sums_of(self, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Of the labels' embeddings. Raises GalleryError where the gallery keeps none."""
        return self.gallery.sums_of(labels)

    def find_all(self, ids: Collection[str]) -> dict[str, LabeledItem]:
        """As the gallery's."""
        return self.gallery.find_all(ids)

    def filtered(self, filters: Sequence[Filter]) -> LocalSource:
        """As the gallery's."""
        return LocalSource(self.gallery.filtered(filters))


@dataclass(frozen=True)
class NamedSource:
    """A source whose items name their gallery; `number` counts galleries, for two may have one name."""

    source: Source
    gallery: str
    number: int

    @property
    def outdated(self) -> bool:
        """As the source."""
        return self.source.outdated

    def __len__(self) -> int:
        return len(self.source)

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """Those of the source."""
        found = self.source.nearest(queries, k)
        return [[Match(self._named(match.item), match.similarity) for match in near] for near in found]

    def sums_of(self, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Those of the source."""
        return self.source.sums_of(labels)

    def find_all(self, ids: Collection[str]) -> dict[str, LabeledItem]:
        """Those of the source."""
        return {key: self._named(item) for key, item in self.source.find_all(ids).items()}

    def filtered(self, filters: Sequence[Filter]) -> NamedSource:
        """Of those items of the source alone that meet all filters."""
        return NamedSource(self.source.filtered(filters), self.gallery, self.number)

    def _named(self, item: LabeledItem) -> JoinedItem:
        return named(item, self.gallery, self.number)


class CountedItems(ItemRow["LabeledItem"]):
    """Items that can be counted and searched, but not listed: nobody holds them all."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def at(self, place: int) -> LabeledItem:
        """Raises GalleryError."""
        raise GalleryError(f"The item {place} of a gallery on a server can't be looked up by its place.")

    def __iter__(self) -> Iterator[LabeledItem]:
        raise GalleryError("The items of a gallery on a server can't be listed.")


@dataclass(frozen=True)
class FoundLabel(LabelScore):
    """A label with its nearest item, which no row of items holds."""

    item: LabeledItem


class SourcedGallery(Gallery):
    """The items of `sources`, whose rows have `dim` dimensions, as one gallery. Immutable; many threads may search it.

    What a source raises where its server does not answer goes through.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        dim: int,
        name: str = "",
        version: int = 0,
        calibration: Calibration | None = None,
        features: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__((), np.empty((0, dim), np.float32), name, version, calibration, features)
        self.sources = tuple(source for source in sources if len(source))
        self.items = CountedItems(sum(map(len, self.sources)))
        self._narrowed: dict[tuple[Filter, ...], Gallery] = {}

    @property
    def outdated(self) -> bool:
        """Whether a source has lost what it searches."""
        return any(source.outdated for source in self.sources)

    def features_by(self, features: Callable[[str], Any]) -> None:
        """Names what gives the local features of an item by its id; said once, before anybody searches."""
        self._features = features

    def find_all(self, ids: Collection[str]) -> dict[str, LabeledItem]:
        """The items with these ids."""
        found: dict[str, LabeledItem] = {}
        for source in reversed(self.sources):
            found |= source.find_all(ids)
        return found

    def embeddings(self) -> NDArray[np.float32] | None:
        """None: nobody holds them all."""
        return None

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """None: items have no places here."""
        return None

    def filtered(self, filters: Sequence[Filter]) -> Gallery:
        """The gallery of those items alone whose metadata meets all filters; this one without filters."""
        if not filters:
            return self
        with self._views_guard:
            known = self._narrowed.get(tuple(filters))
        if known is None or known.outdated:
            known = self._filtered(filters)
            with self._views_guard:
                self._narrowed[tuple(filters)] = known
                while len(self._narrowed) > MOST_VIEWS:
                    del self._narrowed[next(iter(self._narrowed))]
        return known

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        sources = [source.filtered(filters) for source in self.sources]
        return SourcedGallery(sources, self.dim, self.name, self.version, self.calibration, self._features)

    def nearest_item(self, label: LabelScore) -> LabeledItem:
        """The nearest item of a label that this gallery found."""
        if not isinstance(label, FoundLabel):
            raise GalleryError("The label was found by another gallery.")
        return label.item

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Match]]:
        """As the base's."""
        return [near[:k] for near in self._near(self._checked(queries, k), k)]

    def search_labels(self, queries: NDArray[np.float32], k: int) -> list[Found]:
        """As the base's; each label has its nearest item."""
        rows = self._checked(queries, k)
        near = self._near(rows, self._breadth(k))
        scores = _NearLabels([match.item.label for some in near for match in some], self.sources, self.dim)
        found, start = [], 0
        for query, matches in zip(rows, near, strict=True):
            places = np.arange(start, start + len(matches))
            likes = np.array([match.similarity for match in matches], np.float32)
            labels = [
                FoundLabel(**vars(one), item=matches[one.place - start].item)
                for one in scores.score(query, places, likes)
            ]
            found.append(Found(tuple(matches[:k]), tuple(labels)))
            start += len(matches)
        return found

    def _near(self, rows: NDArray[np.float32], k: int) -> list[list[Match]]:
        """For each of the rows the nearest items of all sources, best first."""
        if not len(rows):
            return []
        found = [source.nearest(rows, k) for source in self.sources]
        each = ([match for near in found for match in near[at]] for at in range(len(rows)))
        return [sorted(some, key=lambda match: -match.similarity)[:k] for some in each]


class JoinedSources(SourcedGallery):
    """Galleries of one embedder as one, of which some are on a server (models.galleries.joined has all others).

    Raises GalleryError where one is searched by binary codes or fused: their scores are of other vectors.
    """

    def __init__(self, galleries: Sequence[Gallery]) -> None:
        filled = [(at, one) for at, one in enumerate(galleries) if len(one)]
        dims = {one.dim for _, one in filled}
        if len(dims) > 1:
            raise GalleryError(f"Galleries of {', '.join(map(str, sorted(dims)))} dimensions are not of one embedder.")
        sources: list[Source] = []
        for at, one in filled:
            if not one.summable:
                raise GalleryError(
                    f"The gallery {one.name!r} is searched by binary codes or fused, and can't be searched as one with "
                    "a gallery in Milvus."
                )
            own: Sequence[Source] = one.sources if isinstance(one, SourcedGallery) else [LocalSource(one)]
            sources += [NamedSource(source, one.name, at) for source in own]
        calibration = galleries[0].calibration if len(galleries) == 1 else None
        joined = "+".join(one.name for one in galleries)
        super().__init__(sources, dims.pop() if dims else 0, joined, calibration=calibration)
        self.galleries = tuple(galleries)

    @property
    def outdated(self) -> bool:
        """Never by itself: who joins galleries sees that one of them was loaded again."""
        return False

    def features_of(self, item: LabeledItem) -> Any:
        """The local features of an item, by the gallery that has it."""
        return self.galleries[item.source if isinstance(item, JoinedItem) else 0].features(item.id)

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        return JoinedSources([one.filtered(filters) for one in self.galleries])


class _NearLabels(LabelScores):
    """As its base, for the labels (N,) of near items alone: what else is known of a label comes from the sources."""

    def __init__(self, labels: Sequence[str], sources: Sequence[Source], dim: int) -> None:
        self.names = tuple(sorted(set(labels)))
        ids = {name: number for number, name in enumerate(self.names)}
        self.codes = np.array([ids[label] for label in labels], np.int64)
        self.counts = np.zeros(len(self.names), np.int64)
        self._sums = np.zeros((len(self.names), dim), np.float32)
        for source in sources if self.names else ():
            sums, counts = source.sums_of(self.names)
            self._sums += sums
            self.counts += counts

    def _have_means(self, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones(len(codes), bool)

    def _towards_means(
        self, query: NDArray[np.float32], codes: NDArray[np.int64], own_code: int
    ) -> NDArray[np.float64]:
        sums = self._sums[codes]
        norms = np.maximum(np.linalg.norm(sums, axis=1), EPSILON)
        towards: NDArray[np.float64] = (sums @ query / norms).astype(np.float64)
        return self._less_own(query, codes, own_code, towards, norms)

"""A gallery searched thing by thing: the pictures of each thing count as one vector, the normalised mean of theirs.

The pictures stay: a match shows the picture of the thing that is nearest to the query, with the similarity of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from contracts.indexes import things_of
from models.errors import GalleryError
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.fusing import normalised, sums_of
from models.galleries.gallery import Found, Gallery
from models.galleries.items import labels_of, with_metadata
from models.galleries.label_scores import LabelScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from contracts.filters import Filter
    from contracts.indexes import IndexChoice
    from models.galleries.gallery import LabeledItem

SHOWN_LABELS = 10  # of a query, at least so many name their nearest picture, the others any of theirs


@dataclass(frozen=True)
class Thing:
    """What stands for a thing in the index of things. Each is a label of its own there."""

    id: str

    @property
    def label(self) -> str:
        """Its own."""
        return self.id


@dataclass(frozen=True, slots=True)
class Shown:
    """What of an item says which thing it shows."""

    label: str
    metadata: Mapping[str, str] | None


def shown_by(items: Sequence[LabeledItem]) -> Iterator[Shown]:
    """That of each item, in their order, without making the items of mapped files."""
    metadata = with_metadata(items)
    place, known = next(metadata, (-1, None))
    for at, label in enumerate(labels_of(items)):
        if at != place:
            yield Shown(label, None)
            continue
        yield Shown(label, known)
        place, known = next(metadata, (-1, None))


class FusedGallery(Gallery):
    """The items of `pictures`, fused as `choice` says. Immutable; many threads may search it at a time.

    It holds a vector (D,) for each thing besides. With a `choice` of binary codes those of the fused vectors are searched.
    Raises GalleryError where `pictures` keeps no embeddings.
    """

    def __init__(self, pictures: Gallery, choice: IndexChoice) -> None:
        dim = pictures.dim
        super().__init__((), np.empty((0, dim), np.float32), pictures.name, pictures.version, pictures.calibration)
        self.pictures, self.items, self._choice = pictures, pictures.items, choice
        self._thing_of = np.array(things_of(choice, shown_by(self.items)) or [], np.int64)
        fused = normalised(sums_of(self._thing_of, dim, self._embeddings_at))
        self.thing_count = len(fused)  # how many vectors are searched
        self._order = np.argsort(self._thing_of, kind="stable")
        self._starts = np.searchsorted(self._thing_of[self._order], np.arange(self.thing_count + 1))
        things = [Thing(str(number)) for number in range(self.thing_count)]
        self._things = (
            BinaryGallery(things, fused, kind=choice.binary_kind, rerank=choice.rerank)
            if choice.binary and things
            else Gallery(things, fused)
        )
        self.calibratable = self._things.calibratable
        # A label is as near as the nearest of its things: the means of its pictures are in these already.
        self._labels = LabelScores(list(labels_of(self.items)), None)

    @property
    def summable(self) -> bool:
        """Never: its vectors are means already."""
        return False

    def features(self, item_id: str) -> object:
        """As of the pictures' gallery."""
        return self.pictures.features(item_id)

    def embeddings(self) -> NDArray[np.float32] | None:
        """(N, D), a copy: those of the pictures, row by row as the items are."""
        return self.pictures.embeddings()

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """(M, D): the embeddings of the pictures at these places."""
        return self.pictures.rows_at(places)

    def by_pictures(self) -> Gallery:
        """The gallery of the same items, none of them fused."""
        return self.pictures

    def search_labels(self, queries: NDArray[np.float32], k: int) -> list[Found]:
        """As its base; the labels beyond the first max(k, SHOWN_LABELS) name any of their pictures, not the nearest."""
        rows = self._checked(queries, k)
        found = []
        for query, (things, values) in zip(rows, self._things._nearest(rows, self._breadth(k)), strict=True):
            labels = self._labels.score(query, self._order[self._starts[things]], values)
            for at, one in enumerate(labels[: max(k, SHOWN_LABELS)]):
                labels[at] = replace(one, place=self._nearest_picture(query, int(self._thing_of[one.place])))
            places = self._pictures_of(query, things[:k])
            found.append(Found(tuple(self._matches(places, values[:k])), tuple(labels)))
        return found

    def _filtered(self, filters: Sequence[Filter]) -> Gallery:
        """Means are of the pictures that meet the filters, alone."""
        return FusedGallery(self.pictures.filtered(filters), self._choice)

    def _breadth(self, k: int) -> int:
        return self._things._breadth(k)

    def _nearest(self, rows: NDArray[np.float32], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """For each of the rows its nearest things, each by the place of its nearest picture, and their similarities."""
        near = self._things._nearest(rows, k)
        return [(self._pictures_of(query, things), values) for query, (things, values) in zip(rows, near, strict=True)]

    def _pictures_of(self, query: NDArray[np.float32], things: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self._nearest_picture(query, thing) for thing in things.tolist()], np.int64)

    def _nearest_picture(self, query: NDArray[np.float32], thing: int) -> int:
        places = self._order[self._starts[thing] : self._starts[thing + 1]]
        if len(places) == 1:
            return int(places[0])
        return int(places[np.argmax(self._embeddings_at(places) @ query)])

    def _embeddings_at(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self.pictures.rows_at(places)
        if rows is None:
            raise GalleryError("Without embeddings no pictures can be fused.")
        return rows

"""What is wanted of all items of a gallery at once: from items as they are, or from such as are parsed one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, overload, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from models.galleries.gallery import LabeledItem

Item = TypeVar("Item")


class ItemRow(Sequence[Item]):
    """Items in one row that are made when they are needed: a subclass says how many there are, and gives the one `at` a place."""

    @abstractmethod
    def at(self, place: int) -> Item:
        """The item at `place`, from 0 to below the length."""

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return tuple(self[at] for at in range(*place.indices(len(self))))
        at = place + len(self) if place < 0 else place
        if not 0 <= at < len(self):
            raise IndexError(f"there is no item {place} of {len(self)}")
        return self.at(at)


@runtime_checkable
class CompactItems(Protocol):
    """A sequence of items that says without making them what the functions below give."""

    def labels(self) -> Iterator[str]: ...

    def with_metadata(self) -> Iterator[tuple[int, Mapping[str, str]]]: ...

    def place_of(self, item_id: str) -> int | None: ...


def labels_of(items: Sequence[LabeledItem]) -> Iterator[str]:
    """The label of each item, in their order."""
    return items.labels() if isinstance(items, CompactItems) else (item.label for item in items)


def with_metadata(items: Sequence[LabeledItem]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The places of the items that have metadata, ascending, and the metadata."""
    if isinstance(items, CompactItems):
        return items.with_metadata()
    known = ((place, getattr(item, "metadata", None)) for place, item in enumerate(items))
    return ((place, metadata) for place, metadata in known if metadata)


def place_of(items: Sequence[LabeledItem], item_id: str) -> int | None:
    """Where the item with this id is; None: nowhere."""
    if isinstance(items, CompactItems):
        return items.place_of(item_id)
    return next((place for place, item in enumerate(items) if item.id == item_id), None)


def those_of(items: Sequence[LabeledItem], ids: Collection[str]) -> dict[str, LabeledItem]:
    """The items that have these ids."""
    if not isinstance(items, CompactItems):
        return {item.id: item for item in items if item.id in ids}
    places = ((one, items.place_of(one)) for one in ids)
    return {one: items[place] for one, place in places if place is not None}

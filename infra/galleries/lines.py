"""The items of a large segment as they lie in its file: mapped, and parsed one by one when an answer names them.

What concerns all items is kept compactly next to them, a few bytes an item; a parsed item takes about 600.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from contracts.names import readable_label
from infra.errors.galleries import GalleryCorrupt
from infra.galleries.files import read_items

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from infra.galleries.files import Item
    from infra.galleries.item_keys import ItemKeys

SCANNED_AT_ONCE = 1 << 20  # bytes
LINES_AT_ONCE = 4096
LINE_END = 0x0A
# How `encode_items` begins a line; one that begins otherwise, or whose label has escapes, is parsed.
_START = re.compile(rb'\{"id":"[^"\\]*","label":"([^"\\]*)"')
# Within a string the quotes would be escaped: a line without it has no metadata, and its first one begins them.
_METADATA = re.compile(rb'[,{]\s*"metadata"\s*:')
MOST_ALIKE = 10_000  # different metadata that are kept while all are read, for most items share theirs


class ItemLines(Sequence["Item"]):
    """The items of a file of JSON lines, one a line. Immutable; many threads may read it at a time.

    `keys` gives what finds items by their ids, at the first need. Raises GalleryCorrupt for another number of lines than
    `count`, OSError, and GalleryCorrupt where a line is parsed that is no item.
    """

    def __init__(self, path: Path, count: int, name: str, keys: Callable[[ItemLines], ItemKeys]) -> None:
        """`name` is the gallery's."""
        self._name, self._made_keys = name, keys
        with path.open("rb") as file:
            try:
                self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # it is empty
                raise self._corrupt() from None
        self._starts = _line_starts(self._lines)
        if len(self._starts) != count + 1 or self._starts[-1] != len(self._lines):
            raise self._corrupt()

    def __len__(self) -> int:
        return len(self._starts) - 1

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
        return self._parsed(self._lines[int(self._starts[at]) : int(self._starts[at + 1])])

    def __iter__(self) -> Iterator[Item]:
        for line in self._all_lines():
            yield self._parsed(line)

    def labels(self) -> Iterator[str]:
        """The label of each item, in their order; equal ones are one string."""
        known: dict[bytes, str] = {}
        for line in self._all_lines():
            start = _START.match(line)
            if start is None:
                label = self._parsed(line).label
            elif (found := known.get(start[1])) is not None:
                label = found
            else:
                label = known[start[1]] = readable_label(start[1].decode("utf-8", "surrogatepass"))
            yield label

    def with_metadata(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """The places of the items that have metadata, and the metadata; nothing else of the items is parsed."""
        known: dict[bytes, Mapping[str, str]] = {}
        for place, line in enumerate(self._all_lines()):
            begin = _METADATA.search(line) if b'"metadata"' in line else None
            if begin is None:
                continue
            written = line[begin.end() : -1]
            metadata = known.get(written)
            if metadata is None:
                metadata = self._metadata(written, line)
                if len(known) < MOST_ALIKE:
                    known[written] = metadata
            if metadata:
                yield place, metadata

    def place_of(self, item_id: str) -> int | None:
        """Where the item with this id is."""
        place = int(self.keys.rows_of([item_id])[0])
        return None if place < 0 else place

    @cached_property
    def keys(self) -> ItemKeys:
        """What finds the items by their ids."""
        return self._made_keys(self)

    def _all_lines(self) -> Iterator[bytes]:
        for first in range(0, len(self), LINES_AT_ONCE):
            last = min(first + LINES_AT_ONCE, len(self))
            yield from self._lines[int(self._starts[first]) : int(self._starts[last])].split(b"\n")[: last - first]

    def _metadata(self, written: bytes, line: bytes) -> Mapping[str, str]:
        try:
            found = json.loads(written)
        except ValueError:  # they are not the last member of the line
            return self._parsed(line).metadata
        return {str(name): str(value) for name, value in found.items()}

    def _parsed(self, line: bytes) -> Item:
        try:
            (item,) = read_items(line)
        except (ValueError, KeyError, TypeError) as error:
            raise GalleryCorrupt(f"The items of the gallery {self._name!r} cannot be read.") from error
        return item

    def _corrupt(self) -> GalleryCorrupt:
        return GalleryCorrupt(f"The gallery {self._name!r} has another number of items than its manifest says.")


def _line_starts(lines: mmap.mmap) -> NDArray[np.unsignedinteger]:
    """(N + 1,): where each line begins, and where the last one ends."""
    size = len(lines)
    kind = np.uint32 if size < 1 << 32 else np.uint64
    found = [np.zeros(1, kind)]
    for first in range(0, size, SCANNED_AT_ONCE):
        data = np.frombuffer(lines[first : first + SCANNED_AT_ONCE], np.uint8)
        found.append((np.flatnonzero(data == LINE_END) + (first + 1)).astype(kind))
    return np.concatenate(found)

"""Finds items of a segment by their ids, their content and their labels, without reading the items.

A file of keys is made of the items when they are written, and says nothing that they do not: where it is missing, as in
galleries of earlier releases, or damaged, the same is made of the items.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contracts.names import readable_label
from infra.galleries.files import item_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from mmap import mmap

    from numpy.typing import NDArray

    from infra.galleries.files import Item

KEY_BYTES = 12  # of an id, all that it has
OF_CONTENT = 1 << 31  # marks the row of a key that is not the item's id: an older label's id is another
MAGIC = b"SKEYS001"
AT_ONCE = 4096  # labels
_HEADER = struct.Struct("<8sIII")  # MAGIC, how many `keys` and `label_keys`, and whether an id is not its key
_KEY, _ROW = np.dtype(f"S{KEY_BYTES}"), np.dtype("<u4")
_USUAL = re.compile(r"itm_[0-9a-f]{24}")


@dataclass(frozen=True, eq=False)
class ItemKeys:
    """Sorted keys (M,) with the rows (M,) of their items, and sorted keys of labels (N,) with the rows (N,) that bear them.

    `unusual`: one of the ids is not of the form of `item_id`, and its key is a hash.
    """

    keys: NDArray[np.bytes_]
    rows: NDArray[np.uint32]
    label_keys: NDArray[np.bytes_]
    label_rows: NDArray[np.uint32]
    unusual: bool

    def __len__(self) -> int:
        return len(self.label_rows)

    @property
    def size_bytes(self) -> int:
        """How much it holds, in memory or as a file."""
        return _size(len(self.keys), len(self.label_keys))

    def rows_of(self, ids: Sequence[str], *, by_content: bool = False) -> NDArray[np.int64]:
        """(K,): the rows of the items with these ids, -1 where there is none.

        `by_content`: an item of the same picture, label and box is found too, if its own id is an older one.
        """
        found = np.full(len(ids), -1, np.int64)
        if not len(self.keys) or not len(ids):
            return found
        wanted = np.array([_key_of(one) for one in ids], _KEY)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        rows = self.rows[at]
        there = self.keys[at] == wanted
        if not by_content:
            there &= rows < OF_CONTENT
        found[there] = rows[there] & (OF_CONTENT - 1)
        return found

    def rows_of_label(self, label: str) -> NDArray[np.int64]:
        """The rows of the items of this label, ascending."""
        key = np.array([_key_of_label(label)], _KEY)
        first, last = (int(np.searchsorted(self.label_keys, key, side)[0]) for side in ("left", "right"))
        return np.sort(self.label_rows[first:last]).astype(np.int64)

    def ids_of(self, rows: NDArray[np.int64]) -> list[str] | None:
        """The ids of the items of these rows, in ascending order of the rows; None where the keys do not have them."""
        if self.unusual:
            return None
        wanted = np.zeros(len(self), bool)
        wanted[rows] = True
        at = np.flatnonzero(self.rows < OF_CONTENT)
        at = at[wanted[self.rows[at]]]
        at = at[np.argsort(self.rows[at])]
        return [f"itm_{bytes(one).ljust(KEY_BYTES, bytes(1)).hex()}" for one in self.keys[at]]

    def some_labels(self, most: int, alive: NDArray[np.bool_] | None) -> set[bytes]:
        """The keys of at most so many labels of the rows that are `alive` (N,); None: all are."""
        found: set[bytes] = set()
        for start in range(0, len(self), AT_ONCE):
            keys = self.label_keys[start : start + AT_ONCE]
            if alive is not None:
                keys = keys[alive[self.label_rows[start : start + AT_ONCE]]]
            found.update(bytes(one) for one in np.unique(keys)[: most - len(found) + 1])
            if len(found) >= most:
                break
        return set(sorted(found)[:most])


def made_keys(items: Iterable[Item]) -> ItemKeys:
    """The keys of a segment's items, in their order."""
    keys, rows, labels = [], [], []
    known: dict[str, bytes] = {}
    unusual = False
    for row, item in enumerate(items):
        keys.append(_key_of(item.id))
        rows.append(row)
        unusual = unusual or _USUAL.fullmatch(item.id) is None
        label = readable_label(item.label)  # as it will be read
        if (content := item_id(item.sha256, label, item.box)) != item.id:
            keys.append(_key_of(content))
            rows.append(row | OF_CONTENT)
        if label not in known:
            known[label] = _key_of_label(label)
        labels.append(known[label])
    all_keys, all_rows = np.array(keys, _KEY), np.array(rows, _ROW)
    label_keys = np.array(labels, _KEY)
    order = np.lexsort((all_rows, all_keys))  # an id before the same key of another item's content
    by_label = np.argsort(label_keys, kind="stable")
    return ItemKeys(all_keys[order], all_rows[order], label_keys[by_label], by_label.astype(_ROW), unusual)


def encode_keys(keys: ItemKeys) -> bytes:
    """A header, then the four arrays."""
    header = _HEADER.pack(MAGIC, len(keys.keys), len(keys.label_keys), keys.unusual)
    return header + b"".join(one.tobytes() for one in (keys.keys, keys.rows, keys.label_keys, keys.label_rows))


def decode_keys(data: bytes | mmap, count: int) -> ItemKeys:
    """The keys of `count` items; the arrays are those of `data`, which may be mapped. Raises ValueError."""
    if len(data) < _HEADER.size:
        raise ValueError("no header")
    magic, key_count, label_count, unusual = _HEADER.unpack_from(data)
    if magic != MAGIC or label_count != count or len(data) != _size(key_count, label_count):
        raise ValueError("another file, or of other items")
    found, at = [], _HEADER.size
    for kind, length in ((_KEY, key_count), (_ROW, key_count), (_KEY, label_count), (_ROW, label_count)):
        found.append(np.frombuffer(data, kind, length, at))
        at += kind.itemsize * length
    keys, rows, label_keys, label_rows = found
    if ((rows & (OF_CONTENT - 1)) >= count).any() or (label_rows >= count).any():
        raise ValueError("a row that is none")
    return ItemKeys(keys, rows, label_keys, label_rows, bool(unusual))


def _size(key_count: int, label_count: int) -> int:
    return _HEADER.size + (KEY_BYTES + _ROW.itemsize) * (key_count + label_count)


def _key_of(one: str) -> bytes:
    if _USUAL.fullmatch(one):
        return bytes.fromhex(one[4:])
    return _hash("id", one)


def _key_of_label(label: str) -> bytes:
    return _hash("label", label)


def _hash(what: str, text: str) -> bytes:
    data = f"{what} {text}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).digest()[:KEY_BYTES]

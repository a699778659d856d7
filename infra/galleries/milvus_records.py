"""What of a gallery's items goes to a Milvus server, and what comes back: rows of a partition (infra.galleries.milvus)."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.galleries.files import item_line, read_items

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.files import Item

LINE_BYTES = 65_535  # the longest VARCHAR
CUT = "metadata_cut"  # in a line that is too long with its metadata


def hashed(text: str) -> int:
    """What stands for a label, an item's id or an entry of metadata: 64 bits of SHA-256, signed."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big", signed=True)


def facet(name: str, value: str) -> int:
    """What stands for an entry of an item's metadata."""
    return hashed(f"{name}={value}")


def new_partition() -> str:
    """A name that no other partition has."""
    return f"p{secrets.randbits(31):08x}_{int(time.time()):x}"


def begun_s(partition: str) -> float:
    """When a partition was begun, in seconds since 1970; 0 for a name that is none of ours."""
    with suppress(ValueError, IndexError):
        return float(int(partition.split("_")[1], 16))
    return 0.0


@dataclass(frozen=True)
class Hit:
    """A near row of a partition."""

    key: int
    similarity: float
    item: Item
    cut: bool  # whether the item came without its metadata, which was too long

    @property
    def row(self) -> int:
        """The row in the segment's file."""
        return self.key & 0xFFFFFFFF


@dataclass(frozen=True)
class Where:
    """Which rows are meant: of these hashes of items, labels and facets, and without those items."""

    items: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    facets: tuple[int, ...] = ()
    without: tuple[int, ...] = ()

    def to_expression(self) -> str:
        """As Milvus reads it. All of it are whole numbers."""
        parts = [f"{name} in {list(some)}" for name, some in (("item", self.items), ("label", self.labels)) if some]
        if self.facets:
            parts.append(f"array_contains_all(facets, {list(self.facets)})")
        if self.without:
            parts.append(f"item not in {list(self.without)}")
        return " and ".join(parts)


def entry_of(key: int, item: Item, embedding: NDArray[np.float32]) -> dict[str, Any]:
    """An item and its unit vector (D,) as a row."""
    line = item_line(item)
    if len(line) > LINE_BYTES:
        line = json.dumps({**json.loads(line), "metadata": {}, CUT: True})
    return {
        "key": key,
        "embedding": embedding,
        "label": hashed(item.label),
        "item": hashed(item.id),
        "facets": [facet(name, value) for name, value in item.metadata.items()],
        "line": line,
    }


def hit_of(key: int, similarity: float, line: str) -> Hit:
    """What a row that was found says."""
    return Hit(int(key), float(similarity), read_items(line.encode())[0], f'"{CUT}": true' in line)

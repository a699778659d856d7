"""Galleries with one deliberate mistake each: vectors around a label's own axis, as alike as pictures of a product are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infra.galleries.store import Item, item_id

DIM = 64
SPREAD = 0.7  # of a label's pictures: their similarity is about 1 / (1 + SPREAD²)


@dataclass
class Pictures:
    """Items and embeddings, added one by one."""

    items: list[Item] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)

    def add(
        self,
        label: str,
        row: NDArray[np.float32],
        content: str | None = None,
        box: tuple[int, int, int, int] | None = None,
    ) -> Item:
        sha256 = hashlib.sha256((content or str(len(self.items))).encode()).hexdigest()
        key = f"images/{sha256[:2]}/{sha256}"
        self.items.append(Item(item_id(sha256, label, box), label, key, sha256, box, "2026-01-01T00:00:00Z"))
        self.rows.append(row)
        return self.items[-1]

    @property
    def embeddings(self) -> NDArray[np.float32]:
        return np.stack(self.rows) if self.rows else np.zeros((0, DIM), np.float32)


def view(axis: int, seed: int, spread: float = SPREAD) -> NDArray[np.float32]:
    """A unit vector near the axis of a product."""
    row = np.random.default_rng(1000 * axis + seed).normal(size=DIM) * spread / DIM**0.5
    row[axis] += 1
    return np.asarray(row / np.linalg.norm(row), np.float32)


def near(row: NDArray[np.float32], similarity: float) -> NDArray[np.float32]:
    """A unit vector of about that similarity."""
    other = np.roll(row, 7)
    other -= (other @ row) * row
    other /= np.linalg.norm(other)
    return np.asarray(similarity * row + (1 - similarity**2) ** 0.5 * other, np.float32)


def clean() -> Pictures:
    """Three labels of four pictures, and nothing wrong with them."""
    made = Pictures()
    for axis, label in enumerate(("cola", "tea", "milk")):
        for seed in range(4):
            made.add(label, view(axis, seed))
    return made

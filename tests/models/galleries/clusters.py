"""Vectors in clusters, a label each, and the galleries of them that are searched exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.indexes import BuiltKind
from models.galleries.built_index import BuiltIndex, build, open_index
from models.galleries.gallery import Gallery
from models.vectors import unit_rows

DIM = 32


@dataclass(frozen=True)
class Thing:
    """An item."""

    id: str
    label: str


def things(count: int, per_label: int = 5, seed: int = 0) -> tuple[list[Thing], NDArray[np.float32]]:
    """So many items and their unit rows (N, D), the items of a label near each other."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(-(-count // per_label), DIM))
    labels = np.arange(count) % len(centres)
    rows = unit_rows((centres[labels] + 0.5 * rng.normal(size=(count, DIM))).astype(np.float32))
    return [Thing(f"itm_{at}", f"label {label}") for at, label in enumerate(labels)], rows


def index_of(rows: NDArray[np.float32], kind: BuiltKind, folder: Path) -> BuiltIndex:
    """A built index, opened from its file."""
    made = build(rows, kind)
    path = folder / f"{kind}.faiss"
    path.write_bytes(made.data)
    return open_index(path, kind, made.depth)


def without(items: list[Thing], rows: NDArray[np.float32], gone: set[int]) -> Gallery:
    """The exact gallery of all others."""
    left = [at for at in range(len(items)) if at not in gone]
    return Gallery([items[at] for at in left], rows[left])

"""Galleries large enough for an index, in a store; and the parts that search them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.galleries.segments import SegmentFiles
from infra.galleries.store import GalleryStore, Item, item_id
from models.vectors import unit_rows
from worker.index_builder import build_missing

DIM = 16


def made_items(count: int, start: int = 0, labels: int = 40) -> tuple[list[Item], NDArray[np.float32]]:
    """Items from a number on, and their rows (N, D)."""
    rows = unit_rows(np.random.default_rng(start).normal(size=(count, DIM)).astype(np.float32))
    items = []
    for at in range(start, start + count):
        sha256, label = hashlib.sha256(str(at).encode()).hexdigest(), f"label {at % labels}"
        items.append(Item(item_id(sha256, label), label, f"images/{sha256}", sha256, None, "2026-01-01T00:00:00.000Z"))
    return items, rows


def add(store: GalleryStore, name: str, count: int, start: int = 0) -> tuple[list[Item], NDArray[np.float32]]:
    """Adds so many items as one segment."""
    items, rows = made_items(count, start)
    store.add(name, items, rows, "d" * 64)
    return items, rows


def make_small_ones_large(monkeypatch: pytest.MonkeyPatch, flat_below: int = 1000) -> None:
    """Galleries of so many items get an index, and files of a tenth of that are parts."""
    monkeypatch.setattr("contracts.indexes.FLAT_BELOW", flat_below)
    monkeypatch.setattr("contracts.indexes.LEAST_PART", flat_below // 10)
    monkeypatch.setattr("infra.galleries.segments.MAPPED_FROM", flat_below // 10)


def build(store: GalleryStore, name: str, folder: Path) -> int:
    """As the builder's process."""
    return build_missing(store, SegmentFiles(store, folder), name)

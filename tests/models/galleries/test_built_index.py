from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.indexes import FAISS_KINDS, BuiltKind
from models.errors import GalleryError
from models.galleries.built_index import build, noisy_views, open_index
from tests.models.galleries.clusters import DIM, index_of, things


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_the_nearest_row_is_among_the_candidates_as_often_as_was_measured(kind: BuiltKind, tmp_path: Path) -> None:
    _, rows = things(3000)
    made = build(rows, kind)
    path = tmp_path / "index"
    path.write_bytes(made.data)
    index = open_index(path, kind, made.depth)
    assert (index.count, index.dim) == rows.shape
    queries = noisy_views(rows[:100], np.random.default_rng(7))
    nearest = (queries @ rows.T).argmax(axis=1)
    found = index.candidates(queries, made.depth)
    recall = np.mean([best in near for best, near in zip(nearest, found, strict=True)])
    assert recall >= made.recall_at_1 - 0.05
    assert made.recall_at_1 > 0.95
    assert made.queries == 256


def test_the_recall_that_is_measured_is_that_of_a_poor_index_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.galleries.built_index.DEPTHS", (8,))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20_000, 4)).astype(np.float32)  # one code of four bits: it distinguishes sixteen places
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert build(rows, "PQ").recall_at_1 < 0.9


def test_building_twice_gives_the_same(tmp_path: Path) -> None:
    _, rows = things(1000)
    assert build(rows, "PQ").data == build(rows, "PQ").data


def test_more_candidates_than_rows_are_all_rows(tmp_path: Path) -> None:
    _, rows = things(150)
    found = index_of(rows, "PQ", tmp_path).candidates(rows[:1], 10_000)
    assert sorted(found[0]) == list(range(150))


@pytest.mark.parametrize(("rows", "kind"), [((0, 8), "PQ"), ((9, 6), "PQ"), ((9, 8), "Flat")])
def test_what_can_not_be_indexed_is_refused(rows: tuple[int, int], kind: BuiltKind) -> None:
    with pytest.raises(GalleryError):
        build(np.ones(rows, np.float32), kind)


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_damaged_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(build(things(500)[1], "PQ").data[:keep])
    with pytest.raises(GalleryError, match="damaged") as caught:
        open_index(path, "PQ", 256)
    assert caught.value.code == "gallery_index_damaged"


def test_a_builder_that_is_reported_to_stop_stops() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        build(np.eye(DIM, dtype=np.float32), "PQ", checkpoint=stop)

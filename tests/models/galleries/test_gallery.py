"""The searchable gallery against a sort of all inner products, and what it refuses."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import GalleryError
from models.galleries.gallery import Gallery


@dataclass(frozen=True)
class Named:
    id: str
    label: str


def named(count: int) -> list[Named]:
    return [Named(f"id {number}", f"label {number % 3}") for number in range(count)]


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 40),
    dim=st.integers(1, 16),
    queries=st.integers(0, 30),
    k=st.integers(1, 50),
    seed=st.integers(0),
)
def test_the_nearest_are_found(count: int, dim: int, queries: int, k: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    embeddings, wanted = unit(dice.normal(size=(count, dim))), unit(dice.normal(size=(queries, dim)))
    found = Gallery(named(count), embeddings).search(wanted, k)
    assert len(found) == queries
    for query, matches in zip(wanted, found, strict=True):
        similarities = embeddings @ query
        assert len(matches) == min(k, count)
        assert len({match.item.id for match in matches}) == len(matches)
        best = np.sort(similarities)[::-1][:k]  # ties allowed: only the values are compared
        np.testing.assert_allclose([match.similarity for match in matches], best, atol=1e-5)
        for match in matches:
            row = int(match.item.id.split()[1])
            assert match.similarity == pytest.approx(float(similarities[row]), abs=1e-5)


def test_an_empty_gallery_has_no_matches() -> None:
    gallery = Gallery([], np.empty((0, 0), np.float32), "drinks", 1)
    assert (len(gallery), gallery.name, gallery.version) == (0, "drinks", 1)
    assert gallery.search(np.ones((2, 7), np.float32), 3) == [[], []]
    assert Gallery([], np.empty((0, 7), np.float32)).search(np.empty((0, 7), np.float32), 3) == []


def test_no_queries_are_no_error() -> None:
    gallery = Gallery(named(2), np.eye(2, dtype=np.float32))
    assert gallery.search(np.empty((0, 2), np.float32), 3) == []
    assert gallery.search(np.empty((0, 0), np.float32), 3) == []


def test_what_does_not_fit_is_refused() -> None:
    eye = np.eye(2, dtype=np.float32)
    for items, rows in [
        (named(3), eye),
        (named(2), np.full((2, 2), np.nan, np.float32)),
        (named(2), np.full((2, 2), np.inf, np.float32)),
        (named(2), np.ones(2, np.float32)),
        (named(2), np.ones((2, 0), np.float32)),
    ]:
        with pytest.raises(GalleryError) as refused:
            Gallery(items, rows)
        assert refused.value.code == "gallery_invalid"
    gallery = Gallery(named(2), eye)
    for queries, k in [
        (np.ones((1, 3), np.float32), 1),
        (np.ones(2, np.float32), 1),
        (np.full((1, 2), np.nan, np.float32), 1),
        (eye, 0),
        (eye, -1),
    ]:
        with pytest.raises(GalleryError):
            gallery.search(queries, k)


def test_the_gallery_does_not_change_with_the_array_it_was_made_from() -> None:
    rows = np.eye(2, dtype=np.float32)
    gallery = Gallery(named(2), rows)
    rows[:] = 0
    assert gallery.search(np.array([[1, 0]], np.float32), 1)[0][0].similarity == 1


def test_a_match_as_json() -> None:
    match = Gallery([Named("itm_1", "tea")], np.ones((1, 1), np.float32)).search(np.ones((1, 1), np.float32), 1)[0][0]
    assert match.to_dict() == {"label": "tea", "similarity": 1.0, "item_id": "itm_1", "image_key": None}


def test_threads_get_their_own_answers() -> None:
    embeddings = unit(np.random.default_rng(1).normal(size=(500, 32)))
    gallery = Gallery(named(500), embeddings)
    wrong: list[int] = []

    def search(start: int) -> None:
        for row in range(start, 500, 4):
            if gallery.search(embeddings[row : row + 1], 1)[0][0].item.id != f"id {row}":
                wrong.append(row)

    threads = [threading.Thread(target=search, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_importing_the_module_loads_no_faiss() -> None:
    code = "import sys, models.galleries.gallery, models.recognition.pipeline; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_faiss_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Gallery(named(1), np.ones((1, 1), np.float32))
    assert not [record for record in caplog.records if "faiss" in record.name]
    assert logging.getLogger("faiss.loader").level == logging.WARNING

"""A gallery searched by its binary codes: against distances counted, and against the exact gallery where it is re-ranked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import GalleryError
from models.galleries.binary import binarize, cosine_of, hamming
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.recognition.pipeline import Recognizer

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Named:
    id: str
    label: str


def named(count: int) -> list[Named]:
    return [Named(str(number), f"label {number}") for number in range(count)]


def unit(seed: int, count: int, dim: int) -> Rows:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_the_nearest_by_binary_codes_are_found_most_similar_first() -> None:
    embeddings, queries = unit(1, 60, 64), unit(2, 9, 64)
    distances = hamming(binarize(queries), binarize(embeddings))
    found = BinaryGallery(named(60), embeddings, "drinks", 4).search(queries, 5)
    for near, matches in zip(distances, found, strict=True):
        expected = cosine_of(np.sort(near)[:5], 64)  # ties allowed: only the values are compared
        np.testing.assert_allclose([match.similarity for match in matches], expected, atol=1e-6)
        for match in matches:
            assert match.similarity == pytest.approx(cosine_of(near, 64)[int(match.item.id)], abs=1e-6)


def test_re_ranked_over_all_it_is_the_exact_gallery() -> None:
    embeddings, queries = unit(3, 40, 32), unit(4, 8, 32)
    exact = Gallery(named(40), embeddings).search(queries, 4)
    for one, two in zip(exact, BinaryGallery(named(40), embeddings, rerank=40).search(queries, 4), strict=True):
        assert [match.item.id for match in one] == [match.item.id for match in two]
        np.testing.assert_allclose([match.similarity for match in one], [match.similarity for match in two], atol=1e-6)


def test_re_ranking_the_first_finds_more_of_the_truth() -> None:
    dice = np.random.default_rng(5)
    embeddings = unit(6, 500, 64)
    queries = embeddings[:200] + 0.15 * dice.normal(size=(200, 64)).astype(np.float32)
    right = []
    for rerank in (0, 20):
        found = BinaryGallery(named(500), embeddings, rerank=rerank).search(queries, 1)
        right.append(np.mean([matches[0].item.id == str(place) for place, matches in enumerate(found)]))
    assert right[0] < right[1]
    assert right[1] > 0.8


@pytest.mark.parametrize("kind", ["BHNSW32", "BIVF"])
def test_other_kinds_find_themselves(kind: str) -> None:
    embeddings = unit(7, 300, 64)
    found = BinaryGallery(named(300), embeddings, kind=kind).search(embeddings, 1)
    right = [matches[0].item.id == str(place) for place, matches in enumerate(found) if matches]
    assert sum(right) > 0.95 * 300


def test_empty_galleries_and_no_queries_are_no_error() -> None:
    empty = BinaryGallery([], np.empty((0, 0), np.float32), "drinks", 1)
    assert (len(empty), empty.name, empty.version) == (0, "drinks", 1)
    assert empty.search(unit(1, 2, 8), 3) == [[], []]
    assert BinaryGallery(named(2), unit(1, 2, 8)).search(np.empty((0, 8), np.float32), 3) == []


def test_what_does_not_fit_is_refused() -> None:
    rows = unit(1, 2, 8)
    with pytest.raises(GalleryError):
        BinaryGallery(named(3), rows)
    with pytest.raises(GalleryError, match="multiple of 8"):
        BinaryGallery(named(2), unit(1, 2, 7))
    with pytest.raises(GalleryError):
        BinaryGallery(named(2), rows, rerank=-1)
    with pytest.raises(GalleryError):
        BinaryGallery(named(2), rows, kind="HNSW32")
    gallery = BinaryGallery(named(2), rows)
    for queries, k in [(unit(1, 1, 16), 1), (rows, 0), (np.full((1, 8), np.nan, np.float32), 1)]:
        with pytest.raises(GalleryError):
            gallery.search(queries, k)


class Colours:
    """An embedder of pictures that are one colour."""

    name, digest, dim, similarity_threshold = "colours", "0" * 64, 64, 0.5

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> Rows:
        return unit(int(crops[0][0, 0, 0]), 1, 64)


def test_the_recognizer_takes_it_as_any_gallery() -> None:
    gallery = BinaryGallery(named(9), np.concatenate([unit(seed, 1, 64) for seed in range(9)]))
    found = Recognizer(None, Colours())(np.full((20, 20, 3), 5, np.uint8), gallery, RecognizeOptions())
    assert [one.label for one in found.recognitions] == ["label 5"]
    unknown = Recognizer(None, Colours())(np.full((20, 20, 3), 77, np.uint8), gallery, RecognizeOptions())
    assert not unknown.recognitions

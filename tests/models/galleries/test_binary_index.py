"""Hamming indexes against all distances counted, through additions, removals and files; ties may come either way."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import GalleryError
from models.galleries.binary import hamming
from models.galleries.binary_index import KINDS, BinaryIndex

Codes = NDArray[np.uint8]


def clustered(count: int, seed: int = 0, width: int = 16) -> Codes:
    """Codes in groups of eight that differ in a few bits."""
    dice = np.random.default_rng(seed)
    centres = np.repeat(dice.integers(0, 256, ((count + 7) // 8, width), np.uint8), 8, axis=0)[:count]
    flips = np.packbits(dice.random((count, width * 8)) < 0.03, axis=1)
    return centres ^ flips


def test_an_id_may_be_any_whole_number() -> None:
    for kind in KINDS:
        index = BinaryIndex(16, kind)
        index.add(np.array([[0, 0], [255, 255], [0, 1]], np.uint8), np.array([2**62, 7, 0]))
        distances, ids = index.search(np.array([[0, 0]], np.uint8), 3)
        assert ids.tolist() == [[2**62, 0, 7]]
        assert distances.tolist() == [[0, 1, 16]]
        assert ids.dtype == np.int64


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=8),
    seed=st.integers(0, 999),
)
def test_whatever_is_added_and_removed_exactly_the_rest_is_found(
    kind: str, steps: list[tuple[bool, int]], seed: int
) -> None:
    dice, index = np.random.default_rng(seed), BinaryIndex(32, kind)
    held: dict[int, Codes] = {}
    fresh = 0
    for adding, count in steps:
        if adding:
            codes, ids = dice.integers(0, 256, (count, 4), np.uint8), np.arange(fresh, fresh + count)
            index.add(codes, ids)
            held |= dict(zip(ids.tolist(), codes, strict=True))
            fresh += count
        else:
            gone = dice.integers(0, fresh + 1, count)
            there = {int(one) for one in gone} & held.keys()
            assert index.remove(gone) == len(there)
            for one in there:
                del held[one]
        assert len(index) == len(held)
        assert sorted(index.ids.tolist()) == sorted(held)
    queries = dice.integers(0, 256, (5, 4), np.uint8)
    found = index.search(queries, 4)
    distances, ids = (part.tolist() for part in found)
    assert len(distances) == len(ids) == 5
    for query, near, names in zip(queries, distances, ids, strict=True):
        assert len(near) == len(names) == min(4, len(held))
        for distance, name in zip(near, names, strict=True):
            if name >= 0:
                assert distance == hamming(query[None], held[name][None])[0, 0]
        if held and kind == "BFlat":
            every = np.sort(hamming(query[None], np.stack(list(held.values())))[0])
            assert near == every[: len(near)].tolist()


@pytest.mark.parametrize("kind", ["BHNSW32", "BIVF"])
def test_the_approximate_kinds_find_the_neighbours(kind: str) -> None:
    codes = clustered(2000)
    index = BinaryIndex(128, kind)
    index.add(codes[:800], np.arange(800))
    index.add(codes[800:], np.arange(800, 2000))
    index.remove(np.arange(0, 2000, 3))
    alive = np.flatnonzero(np.arange(2000) % 3)
    queries = codes[1:400:3]
    truth = np.sort(hamming(queries, codes[alive]), axis=1)[:, :4]
    distances, ids = index.search(queries, 4)
    assert (ids % 3 != 0).all()  # -1 is none of the removed either
    assert (distances == truth).mean() > 0.95


def test_of_ties_the_lower_id_comes_first() -> None:
    index = BinaryIndex(8)
    index.add(np.array([[1], [2], [0], [4]], np.uint8), np.array([9, 3, 8, 1]))
    distances, ids = index.search(np.array([[0]], np.uint8), 4)
    assert distances.tolist() == [[0, 1, 1, 1]]
    assert ids.tolist() == [[8, 1, 3, 9]]


def test_an_empty_index_finds_nothing() -> None:
    for kind in KINDS:
        index = BinaryIndex(16, kind)
        assert index.search(np.zeros((2, 2), np.uint8), 3)[1].shape == (2, 0)
        index.add(np.zeros((0, 2), np.uint8), np.zeros(0, np.int64))
        index.add(np.zeros((1, 2), np.uint8), np.array([5]))
        assert index.remove(np.array([5, 5, 6])) == 1
        assert index.search(np.zeros((2, 2), np.uint8), 3)[1].shape == (2, 0)
        index.add(np.zeros((1, 2), np.uint8), np.array([5]))  # a removed id may come again
        assert index.search(np.zeros((1, 2), np.uint8), 3)[1].tolist() == [[5]]


def test_an_id_that_is_taken_adds_nothing() -> None:
    index = BinaryIndex(16)
    index.add(np.zeros((1, 2), np.uint8), np.array([5]))
    for ids in ([6, 5], [7, 7]):
        with pytest.raises(GalleryError) as refused:
            index.add(np.zeros((2, 2), np.uint8), np.array(ids))
        assert refused.value.code == "gallery_id_taken"
    assert index.ids.tolist() == [5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_whole_index(kind: str, tmp_path: Path) -> None:
    codes, path = clustered(200), tmp_path / "codes.index"
    index = BinaryIndex(128, kind)
    index.save(path)
    assert len(BinaryIndex.load(path)) == 0
    index.add(codes, np.arange(200) + 50)
    index.remove(np.arange(60, 80))
    index.save(path)
    other = BinaryIndex.load(path)
    assert list(tmp_path.iterdir()) == [path]
    for one, two in zip(index.search(codes[:30], 6), other.search(codes[:30], 6), strict=True):
        np.testing.assert_array_equal(one, two)
    other.add(codes[10:12], np.array([1, 2]))
    assert other.remove(np.array([50])) == 1
    assert len(other) == 181


def test_a_damaged_file_is_reported_and_a_failed_write_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, index = tmp_path / "codes.index", BinaryIndex(128, "BHNSW32")
    index.add(clustered(40), np.arange(40))
    index.save(path)
    whole = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        index.remove(np.arange(5))
        with pytest.raises(OSError, match="full"):
            index.save(path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for damaged in (b"", whole[: len(whole) // 2], bytes(flipped), b"PK\x03\x04 no index"):
        path.write_bytes(damaged)
        with pytest.raises(GalleryError) as refused:
            BinaryIndex.load(path)
        assert refused.value.code == "gallery_index_damaged"
    np.savez(path, header=np.array([{"a": 1}], object))
    with pytest.raises(GalleryError, match="no binary index"):
        BinaryIndex.load(path.with_name("codes.index.npz"))


def test_what_does_not_fit_is_refused() -> None:
    for bits, kind in [(12, "BFlat"), (0, "BFlat"), (16, "Flat")]:
        with pytest.raises(GalleryError):
            BinaryIndex(bits, kind)
    index = BinaryIndex(16)
    for codes, ids in [
        (np.zeros((1, 3), np.uint8), [1]),
        (np.zeros((2, 2), np.uint8), [1]),
        (np.zeros((1, 2), np.uint8), [-1]),
        (np.zeros((1, 2), np.uint8), [1.5]),
    ]:
        with pytest.raises(GalleryError):
            index.add(codes, np.array(ids))
    with pytest.raises(GalleryError, match="must be 1 or more"):
        index.search(np.zeros((1, 2), np.uint8), 0)
    assert len(index) == 0

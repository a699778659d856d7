"""Codes packed as PaddleClas packs them, and their distances against bits counted one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import GalleryError
from models.galleries.binary import binarize, cosine_of, hamming, unpack


def packed_slowly(bits: list[int]) -> list[int]:
    """The first bit weighs 128, the eighth 1."""
    return [
        sum(bit * weight for bit, weight in zip(bits[at : at + 8], (128, 64, 32, 16, 8, 4, 2, 1), strict=True))
        for at in range(0, len(bits), 8)
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=16, max_size=16))
def test_sign_is_the_documented_formula(values: list[float]) -> None:
    row = np.array([values], np.float32)
    bits = ((np.sign(row[0]) + 1) / 2).astype(np.uint8).tolist()
    assert binarize(row).tolist() == [packed_slowly(bits)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8))
def test_round_is_the_documented_formula(values: list[float]) -> None:
    row = np.array([values], np.float32)
    # In float32, numbers within half a step below 0.5 round up to 1.5 before they are rounded again.
    bits = (np.round(row[0].astype(np.float64) + 1) - 1).astype(np.uint8).tolist()
    assert binarize(row, "round").tolist() == [packed_slowly(bits)]


def test_the_borders() -> None:
    row = np.array([[0.0, -0.0, 1e-30, -1e-30, 5.0, -5.0, 0.5, 0.49]], np.float32)
    assert binarize(row).tolist() == [[0b00101011]]
    assert binarize(row, "round").tolist() == [[0b00001010]]


def test_codes_unpack_and_distances_are_counted() -> None:
    dice = np.random.default_rng(3)
    codes, queries = dice.integers(0, 256, (7, 5), np.uint8), dice.integers(0, 256, (4, 5), np.uint8)
    assert (binarize(unpack(codes)) == codes).all()
    slow = [[sum((int(a) ^ int(b)).bit_count() for a, b in zip(q, c, strict=True)) for c in codes] for q in queries]
    found = hamming(queries, codes)
    assert found.tolist() == slow
    products = unpack(queries) @ unpack(codes).T
    np.testing.assert_array_equal(found, (40 - products) / 2)


def test_distances_give_cosines() -> None:
    dice = np.random.default_rng(4)
    planes = dice.normal(size=(64, 4096))
    one, other = dice.normal(size=(2, 64))
    other = 0.7 * one + 0.5 * other
    codes = binarize(np.stack([one, other]).astype(np.float32) @ planes.astype(np.float32))
    true = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    assert cosine_of(hamming(codes[:1], codes[1:]), 4096)[0, 0] == pytest.approx(true, abs=0.05)
    np.testing.assert_allclose(cosine_of(np.array([0, 4, 8]), 8), [1, 0, -1], atol=1e-7)


def test_what_does_not_fit_is_refused() -> None:
    for rows, method in [
        (np.ones((2, 9), np.float32), "sign"),
        (np.ones(8, np.float32), "sign"),
        (np.full((1, 8), np.nan, np.float32), "sign"),
        (np.ones((1, 8), np.float32), "floor"),
    ]:
        with pytest.raises(GalleryError) as refused:
            binarize(rows, method)
        assert refused.value.code == "gallery_invalid"
    with pytest.raises(GalleryError, match="compared"):
        hamming(np.zeros((1, 2), np.uint8), np.zeros((1, 3), np.uint8))
    with pytest.raises(GalleryError, match="uint8"):
        unpack(np.zeros((1, 2), np.float32))

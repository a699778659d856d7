"""Short descriptors against slow arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.descriptors import KEPT, SPREADS, TABLE, coefficients, comparable, shorten


def synthetic(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(0.7, 30, (count, 128)).astype(np.float32)


def test_the_transform_only_turns() -> None:
    whole = coefficients().reshape(128, 128)
    np.testing.assert_allclose(whole.T @ whole, np.eye(128), atol=1e-12)


def test_the_first_coefficient_is_the_mean_and_waves_run_along_their_own_axis() -> None:
    rows, columns, directions = np.meshgrid(np.arange(4), np.arange(4), np.arange(8), indexing="ij")
    basis = coefficients()
    np.testing.assert_allclose(basis[:, 0, 0, 0], np.full(128, 128**-0.5))
    for (a, b, c), axis, along in (((1, 0, 0), rows, 4), ((0, 1, 0), columns, 4), ((0, 0, 1), directions, 8)):
        wave = basis[:, a, b, c].reshape(4, 4, 8)
        levels = [np.unique(np.round(wave[axis == place], 9)) for place in range(along)]
        assert all(len(level) == 1 for level in levels)
        assert len(np.unique(levels)) > 1


def test_codes_are_the_kept_coefficients_of_the_root_in_steps_of_their_spread() -> None:
    sift = synthetic(50)
    basis = coefficients()
    codes = shorten(sift)
    assert codes.shape == (50, KEPT)
    assert codes.dtype == np.uint8
    for row in range(50):
        root = np.sqrt(sift[row].astype(float) / sift[row].sum())
        for place, (a, b, c, mean, deviation) in enumerate(TABLE):
            value = root @ basis[:, a, b, c]
            step = (value - mean / 1e4) / (SPREADS * deviation / 1e4) * 128 + 128
            assert abs(int(codes[row, place]) + 0.5 - np.clip(step, 0.5, 255.5)) <= 0.51


def test_no_light_makes_no_difference() -> None:
    sift = synthetic(20)
    np.testing.assert_array_equal(shorten(sift), shorten(sift * np.float32(0.25)))
    assert shorten(np.zeros((2, 128), np.float32)).shape == (2, KEPT)
    assert shorten(np.zeros((0, 128), np.float32)).shape == (0, KEPT)


def test_a_place_seen_again_is_the_nearest() -> None:
    sift = synthetic(200)
    again = np.maximum(sift + np.random.default_rng(1).normal(0, 4, sift.shape), 0).astype(np.float32)
    ours, theirs = comparable(shorten(sift)), comparable(shorten(again))
    distances = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    assert (distances.argmin(axis=1) == np.arange(200)).mean() > 0.98


def test_the_table_names_each_coefficient_once_and_fills_whole_bytes_in_pairs() -> None:
    assert len({entry[:3] for entry in TABLE}) == KEPT
    assert KEPT % 2 == 0
    assert all(entry[4] > 0 for entry in TABLE)

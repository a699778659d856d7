"""Augmented views: alike, not equal, and always the same."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ImageError
from models.pictures.augmented_view import WORKING_PX, augmented_view
from models.synth.designs import design_product
from models.synth.products import packshot


def test_a_view_is_the_same_for_a_seed_and_another_for_another() -> None:
    image = packshot(design_product(5), 128)
    before = image.copy()
    first = augmented_view(image, 1)
    np.testing.assert_array_equal(first, augmented_view(image, 1))
    assert (first != augmented_view(image, 2)).any()
    np.testing.assert_array_equal(image, before)
    assert first.dtype == np.uint8
    assert first.shape == image.shape


def test_a_view_shows_the_same_thing() -> None:
    """Its colours are nearer to its own picture's than to those of most others."""
    shots = [packshot(design_product(seed), 96) for seed in range(40, 52)]
    means = np.array([shot.reshape(-1, 3).mean(axis=0) for shot in shots])
    right = 0
    for at, shot in enumerate(shots):
        view = augmented_view(shot, at).reshape(-1, 3).mean(axis=0)
        right += int((((means - view) ** 2).sum(axis=1) <= ((means[at] - view) ** 2).sum()).sum() <= 4)
    assert right >= 9


@pytest.mark.parametrize(("shape", "expected"), [((1000, 500), (320, 160)), ((8, 9), (8, 9)), ((2000, 16), (320, 8))])
def test_sizes(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    view = augmented_view(np.full((*shape, 3), 90, np.uint8), 3)
    assert view.shape[:2] == expected
    assert max(view.shape[:2]) <= WORKING_PX


def test_what_is_no_picture_is_refused() -> None:
    for bad in (np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ImageError):
            augmented_view(bad, 0)

"""Parts of pictures stay within the recipe's bounds, and mixed pictures are what the formula says."""

import numpy as np
import pytest

from models.training.data.class_views import mixed, random_part, random_view
from models.training.recipes.classifier import ClassAugment


def gradient(height: int, width: int) -> np.ndarray:
    """A picture whose red and green show where a pixel is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("size", [(200, 200), (120, 250), (250, 90)])
def test_parts_have_the_area_and_ratio_requested(size: tuple[int, int]) -> None:
    image, rng = gradient(*size), np.random.default_rng(0)
    whole = size[0] * size[1]
    fractions, ratios, corners = [], [], set()
    for _ in range(400):
        part = random_part(image, rng, (0.2, 0.9), (3 / 4, 4 / 3))
        height, width = part.shape[:2]
        fractions.append(height * width / whole)
        ratios.append(width / height)
        corners.add((int(part[0, 0, 0]), int(part[0, 0, 1])))
    assert 0.19 < min(fractions) < 0.25
    fits = min(size) ** 2 * 4 / 3 / whole  # the largest part of an allowed ratio
    assert max(fractions) <= min(0.9, fits)
    assert max(fractions) > 0.9 * min(0.9, fits)
    assert 0.72 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.38
    assert len(corners) > 100


def test_a_strip_s_part_is_as_large_as_fits() -> None:
    part = random_part(gradient(10, 250), np.random.default_rng(1), (0.5, 1.0), (1.0, 1.0))
    assert part.shape[:2] == (10, 10)
    assert random_part(gradient(1, 1), np.random.default_rng(1), (0.08, 1.0), (0.75, 1.33)).shape == (1, 1, 3)


def test_views_are_stretched_and_half_of_them_mirrored() -> None:
    image, how = gradient(100, 100), ClassAugment(area=(1.0, 1.0), aspect=(1.0, 1.0))
    views = [random_view(image, 50, np.random.default_rng(i), how) for i in range(100)]
    assert {view.shape for view in views} == {(50, 50, 3)}
    mirrored = sum(int(view[0, 0, 0]) > int(view[0, -1, 0]) for view in views)
    assert 30 < mirrored < 70
    straight = random_view(image, 100, np.random.default_rng(0), ClassAugment((1.0, 1.0), (1.0, 1.0), flip=0.0))
    np.testing.assert_array_equal(straight, image)


def test_mixed_pictures_are_weighted_sums() -> None:
    pixels = np.random.default_rng(2).normal(size=(6, 3, 4, 4)).astype(np.float32)
    weights = []
    for seed in range(50):
        through, others, own = mixed(pixels, np.random.default_rng(seed), alpha=0.2)
        weights.append(own)
        assert sorted(others) == list(range(6))
        for i, other in enumerate(others):
            np.testing.assert_allclose(through[i], own * pixels[i] + (1 - own) * pixels[other], atol=1e-6)
    assert min(weights) < 0.05
    assert max(weights) > 0.95

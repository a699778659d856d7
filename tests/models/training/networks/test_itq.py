"""ITQ: axes of length 1 at right angles, and codes that lose less than the plain binary codes of principal axes."""

import numpy as np
import pytest

from models.training.errors import TrainingError
from models.training.networks.itq import itq


def rows() -> np.ndarray:
    """Two groups of dimensions of very different variance, off centre."""
    dice = np.random.default_rng(2)
    return (dice.normal(size=(400, 16)) * np.linspace(3, 0.2, 16) + 5).astype(np.float32)


def test_the_axes_are_a_rotation_of_the_principal_ones() -> None:
    found = itq(rows(), 8)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(found.mean, rows().mean(axis=0), atol=1e-5)
    # The eight dimensions of largest variance are spanned, whatever the rotation.
    assert (found.axes[:8] ** 2).sum() > 0.97 * 8


def test_each_round_loses_less() -> None:
    losses = []
    for iterations in (0, 3, 40):
        turned = itq(rows(), 8, iterations=iterations)(rows())
        losses.append(float(((np.where(turned > 0, 1, -1) - turned) ** 2).mean()))
    assert losses[0] > losses[1] > losses[2]


def test_the_same_seed_gives_the_same_axes() -> None:
    np.testing.assert_array_equal(itq(rows(), 8, seed=3).axes, itq(rows(), 8, seed=3).axes)


def test_more_bits_than_dimensions_are_refused() -> None:
    with pytest.raises(TrainingError, match="24 bits"):
        itq(rows(), 24)

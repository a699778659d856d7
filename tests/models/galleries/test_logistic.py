"""Newton's logistic regression against scikit-learn's, and what its prior does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.galleries.logistic import fit_logistic, information, sigmoid

Values = NDArray[np.float64]


def synthetic(count: int, seed: int = 0) -> tuple[Values, Values, Values]:
    rng = np.random.default_rng(seed)
    inputs = np.concatenate([np.ones((count, 1)), rng.normal(size=(count, 2))], axis=1)
    right = (rng.random(count) < sigmoid(inputs @ [0.5, 2.0, -1.0])).astype(np.float64)
    return inputs, right, rng.uniform(0.5, 2, count)


def test_the_weights_are_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression  # a second to import

    inputs, right, weights = synthetic(300)
    ridge = 0.7
    theirs = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=500)
    theirs.fit(inputs, right, sample_weight=weights)
    ours = fit_logistic(inputs, right, weights, np.zeros(3), ridge * np.eye(3))
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-4)


def test_without_queries_the_prior_stays_and_with_many_it_goes() -> None:
    around = np.array([1.0, -3.0, 4.0])
    none = fit_logistic(np.zeros((0, 3)), np.zeros(0), np.zeros(0), around, np.eye(3))
    np.testing.assert_array_equal(none, around)
    inputs, right, weights = synthetic(20_000)
    many = fit_logistic(inputs, right, weights, around, np.eye(3))
    np.testing.assert_allclose(many, [0.5, 2.0, -1.0], atol=0.15)
    few = fit_logistic(inputs[:20], right[:20], weights[:20], around, 1000 * np.eye(3))
    np.testing.assert_allclose(few, around, atol=0.1)


def test_an_offset_is_part_of_the_logit() -> None:
    inputs, right, weights = synthetic(2000)
    shift = np.full(2000, 3.0)
    ridge = 1e-6 * np.eye(3)
    with_offset = fit_logistic(inputs, right, weights, np.zeros(3), ridge, shift)
    without = fit_logistic(inputs, right, weights, np.zeros(3), ridge)
    np.testing.assert_allclose(with_offset, without - [3.0, 0, 0], atol=1e-4)


def test_perfectly_separable_queries_give_finite_weights() -> None:
    inputs = np.stack([np.ones(10), np.linspace(-1, 1, 10)], axis=1)
    found = fit_logistic(inputs, (inputs[:, 1] > 0).astype(float), np.ones(10), np.zeros(2), 1e-3 * np.eye(2))
    assert np.isfinite(found).all()
    assert found[1] > 5


def test_information_is_the_mean_curvature() -> None:
    inputs, _, weights = synthetic(50)
    at = np.array([0.1, 0.2, 0.3])
    slow = np.zeros((3, 3))
    for row, weight in zip(inputs, weights, strict=True):
        probability = 1 / (1 + np.exp(-row @ at))
        slow += weight * probability * (1 - probability) * np.outer(row, row)
    np.testing.assert_allclose(information(inputs, weights, at), slow / weights.sum(), rtol=1e-9)
    assert sigmoid(np.array([-1e9, 1e9])) == pytest.approx([0, 1], abs=1e-12)

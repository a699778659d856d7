"""Logistic regression, by Newton's method: the few weights of a calibration, around what is known already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

STEPS = 50
SMALL = 1e-8
FARTHEST = 30.0  # logits beyond are as good as certain


def sigmoid(logits: Values) -> Values:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -FARTHEST, FARTHEST))), np.float64)


def fit_logistic(
    inputs: Values, right: Values, weights: Values, around: Values, precision: Values, offset: Values | None = None
) -> Values:
    """The (F,) coefficients w that make `right` (N,), 0 or 1, likeliest for `inputs` (N, F), each with its weight (N,).

    They are pulled to `around` (F,) by the quadratic form `precision` (F, F), positive definite: a Gaussian prior, so the
    answer is the maximum a posteriori (Bishop, Pattern Recognition and Machine Learning, 4.3.3). `offset` (N,) is added
    to the logits. The same input gives the same answer.
    """
    shift = np.zeros(len(inputs)) if offset is None else offset
    found = around.astype(np.float64).copy()
    value = _loss(inputs, right, weights, around, precision, shift, found)
    for _ in range(STEPS):
        probability = sigmoid(inputs @ found + shift)
        slope = inputs.T @ (weights * (probability - right)) + precision @ (found - around)
        bend = (inputs * (weights * probability * (1 - probability))[:, None]).T @ inputs + precision
        step = np.linalg.solve(bend, slope)
        scale = 1.0
        while scale > SMALL:  # a full step may overshoot where the probabilities are near 0 or 1
            tried = found - scale * step
            reached = _loss(inputs, right, weights, around, precision, shift, tried)
            if reached <= value:
                break
            scale /= 2
        else:
            break
        done = value - reached <= SMALL * max(1.0, abs(value))
        found, value = tried, reached
        if done:
            break
    return found


def information(inputs: Values, weights: Values, coefficients: Values) -> Values:
    """(F, F) how firmly the inputs (N, F) hold the coefficients: the Hessian of the loss, a mean over the weights."""
    probability = sigmoid(inputs @ coefficients)
    bend = (inputs * (weights * probability * (1 - probability))[:, None]).T @ inputs
    return np.asarray(bend / max(float(weights.sum()), SMALL), np.float64)


def _loss(
    inputs: Values, right: Values, weights: Values, around: Values, precision: Values, shift: Values, at: Values
) -> float:
    logits = inputs @ at + shift
    away = at - around
    return float(weights @ (np.logaddexp(0, logits) - right * logits) + away @ precision @ away / 2)

"""Open-set rates and calibration errors against slow and obvious ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.evaluation.fit_calibration import LabelledRows, fit_embedder
from models.evaluation.open_set_rates import (
    OpenAnswers,
    answer_openly,
    calibration_error,
    identification_rate,
    open_set_metrics,
)
from models.galleries.calibration import from_threshold
from models.training.data.photos import DatasetError

answers = st.lists(st.tuples(st.integers(0, 10), st.booleans(), st.booleans()), min_size=1, max_size=30)


def made(rows: list[tuple[int, bool, bool]]) -> OpenAnswers:
    scores = np.array([score / 10 for score, _, _ in rows])
    known = np.array([known for _, _, known in rows])
    return OpenAnswers(scores, scores, np.array([right and known for _, right, known in rows]), known)


@settings(max_examples=200)
@given(rows=answers, rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_identification_is_the_best_of_all_thresholds(rows: list[tuple[int, bool, bool]], rate: float) -> None:
    found = made(rows)
    got = identification_rate(found.probabilities, found, rate)
    if found.known.all() or not found.known.any():
        assert np.isnan(got.identified)
        return
    best = 0.0
    for threshold in np.arange(-1, 12) / 10:
        passed = found.probabilities > threshold
        if passed[~found.known].mean() <= rate:
            best = max(best, float((passed & found.right)[found.known].mean()))
    assert got.identified == pytest.approx(best)
    assert got.answered <= rate


@settings(max_examples=100)
@given(rows=answers)
def test_the_calibration_error_is_the_obvious_one(rows: list[tuple[int, bool, bool]]) -> None:
    found = made(rows)
    total = 0.0
    for low in range(10):
        inside = [(p, r) for p, r in zip(found.probabilities, found.right, strict=True) if min(int(p * 10), 9) == low]
        if inside:
            mean_p, fraction = np.mean([p for p, _ in inside]), np.mean([r for _, r in inside])
            total += len(inside) / len(rows) * abs(mean_p - fraction)
    assert calibration_error(found.probabilities, found.right) == pytest.approx(total, abs=1e-9)


def synthetic(labels: int, pictures: int, seed: int = 0, spread: float = 0.8) -> LabelledRows:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(labels, 24)), pictures, axis=0)
    rows += spread * rng.normal(size=rows.shape)
    return LabelledRows("rendered", unit(rows), np.repeat(np.arange(labels), pictures), None, unit(rows + 0.1))


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


UNKNOWNS = unit(np.random.default_rng(8).normal(size=(100, 24)))


def test_pictures_that_query_each_other_leave_themselves_and_their_labels_out() -> None:
    known = synthetic(8, 3)
    found = answer_openly(known, UNKNOWNS[:0], from_threshold(0.5))
    assert (int(found.known.sum()), int((~found.known).sum())) == (24, 24)
    assert (found.similarities < 0.999).all()  # nobody found itself
    assert not found.right[~found.known].any()
    with_unknowns = answer_openly(known, UNKNOWNS, from_threshold(0.5))
    assert int((~with_unknowns.known).sum()) == 100


def test_labels_that_the_gallery_lacks_are_unknown() -> None:
    known = synthetic(6, 4)
    gallery = (known.labels < 4) & (np.arange(24) % 4 < 2)
    split = LabelledRows("split", known.rows, known.labels, gallery)
    found = answer_openly(split, UNKNOWNS[:0], from_threshold(0.5))
    assert (int(found.known.sum()), int((~found.known).sum())) == (8, 8)
    metrics = open_set_metrics(found, from_threshold(0.5))
    assert metrics["recall@1"] == 1
    assert metrics["identified@fpr0.1"] is not None
    assert set(metrics) >= {"identified@fpr0.01", "identified@fpr0.05", "calibration_error", "precision@0.9"}


def test_the_embedders_fit_holds_on_labels_that_it_never_saw() -> None:
    made_by = fit_embedder([synthetic(40, 6, seed=1, spread=1.0)], UNKNOWNS, 0.5)
    assert made_by.source == "embedder"
    assert made_by == fit_embedder([synthetic(40, 6, seed=1, spread=1.0)], UNKNOWNS, 0.5)
    fresh = synthetic(40, 6, seed=2, spread=1.0)
    split = LabelledRows("fresh", fresh.rows, fresh.labels, np.arange(240) % 6 < 2)
    metrics = open_set_metrics(answer_openly(split, UNKNOWNS, made_by), made_by)
    assert metrics["calibration_error"] is not None
    assert metrics["calibration_error"] < 0.12
    assert metrics["precision@0.9"] is not None
    assert metrics["precision@0.9"] >= 0.85


def test_sets_without_galleries_are_refused() -> None:
    with pytest.raises(DatasetError, match="no evaluation set"):
        fit_embedder([synthetic(2, 2)], UNKNOWNS, 0.5)

"""A detector's recipe: epochs in steps, the learning rate's course, the official hyper-parameters, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from models.training.detection_sources import PictureSource
from models.training.detector_network import build_detector
from models.training.detector_recipe import (
    DetectorExam,
    DetectorNetwork,
    DetectorOptimizer,
    DetectorRecipe,
    DetectorStage,
    learning_rate_at,
)
from models.training.recipe import RecipeError, load_recipe

TINY = load_recipe("detector-tiny", DetectorRecipe)
OFFICIAL = load_recipe("picodet-lcnet-x2_5-mainbody", DetectorRecipe)


def test_the_official_recipe_has_the_documented_figures() -> None:
    network = build_detector(OFFICIAL)
    trained = sum(parameter.size for parameter in network.parameters())
    assert trained == pytest.approx(7.09e6, rel=0.01)
    recipe = OFFICIAL.in_steps(56_000)
    assert recipe.steps == 100_000
    assert recipe.optimizer.ema_cycle_steps == 20_000
    assert recipe.evaluate_every == 10_000
    assert recipe.stages[0].sizes_px == tuple(range(576, 705, 32))
    rates = [learning_rate_at(step, recipe.steps, recipe.optimizer) for step in range(0, 100_000, 50)]
    assert rates[0] == pytest.approx(0.4 * (0.1 + 0.9 / 300))
    assert max(rates) == pytest.approx(0.4)
    assert int(np.argmax(rates)) * 50 in (300, 350)
    assert rates[-1] < 1e-6
    assert (np.diff(rates[6:]) < 0).all()


def test_epochs_round_up_and_steps_stay() -> None:
    recipe = replace(TINY, stages=(DetectorStage(epochs=1.5, sizes_px=(64,), batch=8), DetectorStage(7, (64,), 4)))
    assert [stage.steps for stage in recipe.in_steps(21).stages] == [4, 7]
    assert TINY.in_steps(1000) == TINY
    assert recipe.in_steps(21).in_steps(21) == recipe.in_steps(21)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DetectorStage(sizes_px=(64,)), "'steps' or 'epochs'"),
        (lambda: DetectorStage(5, (64,), epochs=2), "'steps' or 'epochs'"),
        (lambda: DetectorStage(5, (100,)), "multiples of 32"),
        (lambda: DetectorStage(5), "multiples of 32"),
        (lambda: DetectorNetwork(act="relu"), "hard_swish, leaky_relu"),
        (lambda: DetectorExam("list", "x"), "rendered, voc, coco, photos"),
        (lambda: PictureSource("list", "x"), "rendered, cutouts, voc, coco, photos"),
        (lambda: DetectorOptimizer(kind="sgd"), "adamw, momentum"),
        (lambda: replace(TINY, data=()), "'data' and 'stages'"),
        (lambda: replace(TINY, pool=False), "coco and voc"),
        (lambda: replace(TINY, select_by=("nothing",)), "'nothing'"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        make()

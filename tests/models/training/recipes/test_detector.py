"""A detector's recipe: epochs in steps, the learning rate's course, the official hyper-parameters, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.training.engine.schedule import cosine_learning_rate
from models.training.networks.detector import build_detector
from models.training.recipes.detector import (
    DetectorNetwork,
    DetectorRecipe,
    DetectorStage,
)
from models.training.recipes.detector_tables import Variation
from models.training.recipes.reading import RecipeError, load_recipe

TINY = load_recipe("detector-tiny", DetectorRecipe)
OFFICIAL = load_recipe("picodet-lcnet-x2_5-mainbody", DetectorRecipe)

GOOD = """
name = "x"
[[data]]
kind = "rendered"
name = "synthetic"
count = 3
[[stages]]
steps = 5
sizes_px = [64]
"""


def test_the_official_recipe_has_the_documented_values() -> None:
    network = build_detector(OFFICIAL)
    trained = sum(parameter.size for parameter in network.parameters())
    assert trained == pytest.approx(7.09e6, rel=0.01)
    recipe = OFFICIAL.in_steps(56_000)
    assert recipe.steps == 100_000
    assert recipe.optimizer.ema_cycle_steps == 20_000
    assert recipe.evaluate_every == 10_000
    assert recipe.stages[0].sizes_px == tuple(range(576, 705, 32))
    table = recipe.optimizer
    bounds = (table.learning_rate, table.warmup_steps, table.final, table.warmup_from)
    rates = [cosine_learning_rate(step, recipe.steps, *bounds) for step in range(0, 100_000, 50)]
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
    ("make", "report"),
    [
        (lambda: DetectorStage(sizes_px=(64,)), "'steps' or 'epochs'"),
        (lambda: DetectorStage(5, (64,), epochs=2), "'steps' or 'epochs'"),
        (lambda: DetectorStage(5), "sizes_px: needs a size"),
        (lambda: DetectorNetwork(neck_kernel=4), "neck_kernel: must be odd, not 4"),
        (lambda: replace(TINY, data=()), "data: needs a source"),
        (lambda: replace(TINY, stages=()), "stages: needs a stage"),
        (lambda: replace(TINY, data=(replace(TINY.data[0], sampling_weight=0.0),)), "every 'sampling_weight' is 0"),
        (lambda: replace(TINY.data[0], count=0), "count: 'rendered' needs a 'count' of 1 or more"),
        (lambda: replace(TINY.eval[0], count=0), "count: 'rendered' needs a 'count' of 1 or more"),
        (lambda: Variation(zoom=(1.7, 0.6)), "zoom: must have the lower number first"),
        (lambda: replace(TINY, pool=False), "coco and voc"),
        (lambda: replace(TINY, select_by=("nothing",)), "'nothing'"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], report: str) -> None:
    with pytest.raises(RecipeError, match=report):
        make()


@pytest.mark.parametrize(
    ("first", "last", "report"),
    [
        ("deploy_px = 100", "", "deploy_px: must be a multiple of 32, not 100"),
        ("deploy_px = 0", "", "deploy_px: must be 64 or more, not 0"),
        ("pool_px = 0", "", "pool_px: must be 32 or more, not 0"),
        ("evaluate_every = 0", "", "evaluate_every: must be 1 or more, not 0"),
        ("evaluate_every_epochs = -1", "", "evaluate_every_epochs: must be 0 or more, not -1"),
        ("network.scale = 0", "", "network.scale: must be above 0, not 0"),
        ("network.neck_channels = 1", "", "network.neck_channels: must be 2 or more, not 1"),
        ("network.act = 'relu'", "", "network.act: must be one of 'hard_swish', 'leaky_relu', not 'relu'"),
        ("network.body = 'vgg'", "", "network.body: must be one of 'lcnet', 'esnet', not 'vgg'"),
        ("loss.assigner = 'max_iou'", "", "loss.assigner: must be one of 'simota', 'atss', not 'max_iou'"),
        ("optimizer.kind = 'sgd'", "", "optimizer.kind: must be one of 'adamw', 'momentum', not 'sgd'"),
        ("distill.kind = 'both'", "", "distill.kind: must be one of '', 'teacher', 'self', not 'both'"),
        ("", "[[data]]\nkind = 'list'\nname = 'l'", "data[1].kind: must be one of 'rendered', 'cutouts', 'collages', "),
        (
            "",
            "[[eval]]\nkind = 'list'\nname = 'l'",
            "eval[0].kind: must be one of 'rendered', 'voc', 'coco', 'photos', ",
        ),
        ("network.reg_max = 0", "", "network.reg_max: must be 1 or more, not 0"),
        ("variation.zoom = [0.6]", "", "variation.zoom: has too few entries: [0.6]"),
        ("variation.zoom = [0, 1]", "", "variation.zoom[0]: must be above 0, not 0"),
        ("variation.aspect = 0.5", "", "variation.aspect: must be 1 or more, not 0.5"),
        ("variation.mosaic = 3", "", "variation.mosaic: must be 1 or less, not 3"),
        ("loss.candidates = 0", "", "loss.candidates: must be 1 or more, not 0"),
        ("loss.giou_weight = -2", "", "loss.giou_weight: must be 0 or more, not -2"),
        ("distill.temperature = 0", "", "distill.temperature: must be above 0, not 0"),
        ("optimizer.learning_rate = -1.0", "", "optimizer.learning_rate: must be above 0, not -1.0"),
        ("optimizer.momentum = 1", "", "optimizer.momentum: must be below 1, not 1"),
        ("optimizer.ema_decay = -0.1", "", "optimizer.ema_decay: must be 0 or more, not -0.1"),
        ("optimizer.final = 2", "", "optimizer.final: must be 1 or less, not 2"),
        ("", "batch = 0", "stages[0].batch: must be 1 or more, not 0"),
        ("", "epochs = -1", "stages[0].epochs: must be 0 or more, not -1"),
        ("", "[[stages]]\nsteps = 5\nsizes_px = [64, 100]", "stages[1].sizes_px[1]: must be a multiple of 32, not 100"),
        ("", "[[stages]]\nsteps = -5\nsizes_px = [64]", "stages[1].steps: must be 0 or more, not -5"),
        (
            "",
            "[[data]]\nkind = 'voc'\nname = 'v'\nsampling_weight = -1",
            "data[1].sampling_weight: must be 0 or more, not -1",
        ),
        ("", "[[data]]\nkind = 'photos'\nname = 'p'\nlargest = 7", "data[1].largest: must be 1 or less, not 7"),
    ],
)
def test_numbers_that_cannot_work_are_reported(tmp_path: Path, first: str, last: str, report: str) -> None:
    (tmp_path / "mine.toml").write_text(f"{first}{GOOD}{last}", encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(str(tmp_path / "mine.toml"), DetectorRecipe)
    assert error.value.detail.startswith(f"mine.toml: {report}")
    assert "\n" not in error.value.detail

"""The tiny metric-learning recipe, its pool built once, and a finished run of it."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from models.training.data.pool import build_pool
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.pictures import Stage
from models.training.recipes.reading import load_recipe
from models.training.tasks.metric import MetricTask

TINY = load_recipe("metric-tiny", MetricRecipe)
# The same pool, a narrower network, few steps, and an eval set that costs little.
QUICK = replace(
    TINY,
    backbone=replace(TINY.backbone, width=0.25),
    stages=(Stage(4, 32, 16), Stage(2, 40, 16)),
    eval=(replace(TINY.eval[0], products=3),),
    evaluate_every=2,
    precise_bn_images=0,
)


@dataclass(frozen=True)
class MetricRun:
    """A finished run: its folder, and what it reported."""

    folder: Path
    lines: tuple[Progress, ...]


def quiet(*_: Any) -> None:
    """Hears nothing."""


@cache
def tiny_pool(base: Path) -> Path:
    """The folder of the tiny recipe's pool. Do not write into it."""
    build_pool(TINY.pictures, None, base / "metric-pool", quiet)
    return base / "metric-pool"


def with_pool(base: Path, out: Path) -> Path:
    """A run's folder that has its pool already."""
    out.mkdir(parents=True)
    (out / "pool").symlink_to(tiny_pool(base))
    return out


@cache
def tiny_metric_run(base: Path) -> MetricRun:
    """The tiny recipe from its first step to its last."""
    lines: list[Progress] = []
    out = with_pool(base, base / "metric-run")
    fit(MetricTask, TINY, None, out, lines.append, quiet)
    return MetricRun(out, tuple(lines))

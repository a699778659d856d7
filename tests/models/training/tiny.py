"""The tiny recipe, run and exported once for all tests that look at what came of it."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from models.export.trained import Origin, export_embedder
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.pictures import Stage
from models.training.recipes.reading import load_recipe
from models.training.tasks.embedder import EmbedderTask

TINY = load_recipe("embedder-tiny", EmbedderRecipe)
# The same pool, few steps, and an eval set that costs nothing.
QUICK = replace(
    TINY, stages=(Stage(8, 32, 24), Stage(4, 40, 24)), evaluate_every=4, eval=(replace(TINY.eval[0], products=3),)
)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, what it reported, and what it printed of its preparation."""

    folder: Path
    lines: tuple[Progress, ...]
    prepared: tuple[tuple[str, int, int], ...]


@cache
def trained(base: Path) -> Run:
    """The tiny recipe from its first step to its last."""
    lines: list[Progress] = []
    prepared: list[tuple[str, int, int]] = []
    fit(EmbedderTask, TINY, None, base / "tiny-run", lines.append, lambda *report: prepared.append(report))
    return Run(base / "tiny-run", tuple(lines), tuple(prepared))


@cache
def exported(base: Path) -> Path:
    """Its artifact."""
    origin = Origin(data=["rendered products"], metrics={"rendered": 0.25}, thresholds={"similarity": 0.4}, minutes=0.2)
    return export_embedder(TINY, trained(base).folder / "best.npz", base / "tiny-artifact", origin)

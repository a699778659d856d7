"""What each of several processes does in the detector's test. Run by `paddle.distributed.launch` with the run's folder."""

import sys
from dataclasses import replace
from pathlib import Path

from models.training.engine.fit import fit
from models.training.recipes.detector import DetectorOptimizer, DetectorRecipe, DetectorStage
from models.training.recipes.reading import load_recipe
from models.training.tasks.detector import DetectorTask

TINY = load_recipe("detector-tiny", DetectorRecipe)
# Plain descent: AdamW divides each gradient by its own size, so weights whose gradient is rounding go anywhere.
RECIPE = replace(
    TINY,
    data=(replace(TINY.data[0], count=8),),
    eval=(),
    stages=(DetectorStage(3, (64, 128), 8),),
    loss=replace(TINY.loss, assigner="atss"),
    distill=replace(TINY.distill, kind="self", from_fraction=0.3),
    optimizer=DetectorOptimizer("momentum", 0.02, 1e-4, warmup_steps=1, ema_decay=0.9),
)


def train(out: Path) -> None:
    """The recipe, from its first step to its last."""
    fit(DetectorTask, RECIPE, None, out, lambda _: None, lambda *_: None)


if __name__ == "__main__":
    train(Path(sys.argv[1]))

"""One of several processes that train a projection to binary codes. Run by `paddle.distributed.launch`.

Takes the base embedder's folder, and that of the run, whose pool is there already.
"""

import sys
from dataclasses import replace
from pathlib import Path

from models.training.engine.fit import fit
from models.training.recipes.hash import HashLoss, HashRecipe
from models.training.recipes.metric import MetricOptimizer
from models.training.recipes.pictures import Stage
from models.training.recipes.reading import load_recipe
from models.training.tasks.hash import HashTask

TINY = load_recipe("hash-tiny", HashRecipe)


def train(base: Path, out: Path) -> None:
    """A few steps of gradient descent: AdamW divides each gradient by its own size, also one that is nothing but rounding."""
    recipe = replace(
        TINY,
        network=replace(TINY.network, kind="projection", base=str(base), bits=32, augmented_views=2),
        loss=HashLoss("dshsd", alpha=0.01, keep=1.0),
        stages=(Stage(4, 32, 16),),
        eval=(),
        optimizer=MetricOptimizer("momentum", 0.05, 1e-4, 1),
    )
    fit(HashTask, recipe, None, out, lambda _: None, lambda *_: None)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]))

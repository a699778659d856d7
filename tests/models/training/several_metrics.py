"""One of several training processes of a metric recipe with every kind of loss. Run by `paddle.distributed.launch`.

Takes the folder of the run, whose pool is there already.
"""

import sys
from dataclasses import replace
from pathlib import Path

from models.training.engine.fit import fit
from models.training.recipes.metric import Center, Contrastive, CrossEntropy, Loss, MetricOptimizer, SupCon, Triplet
from models.training.recipes.pictures import Stage
from models.training.tasks.metric import MetricTask
from tests.models.training.metric_tiny import QUICK, quiet

# Gradient descent: AdamW divides each gradient by its own size, also one that is nothing but rounding.
TOGETHER = replace(
    QUICK,
    loss=Loss(
        ce=CrossEntropy(1.0, 0.1),
        triplet=Triplet(0.5),
        supcon=SupCon(0.5),
        contrastive=Contrastive(0.5, 0.1, memory_size=40, memory_from=1),
        center=Center(0.05, on="backbone"),
    ),
    optimizer=MetricOptimizer("momentum", 0.001, 1e-4, 1, ema_decay=0.9),
    stages=(Stage(3, 40, 16),),
    eval=(),
)

if __name__ == "__main__":
    fit(MetricTask, TOGETHER, None, Path(sys.argv[1]), quiet, quiet)

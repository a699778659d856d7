"""`fit`: the one place where a run is prepared, resumed, stepped, evaluated and saved, whatever network it trains.

A task (models.training.tasks) says what is particular: what to check first, its pictures and eval sets, the network, the
losses of a step and how to evaluate. The rest is here: seeds, data-parallel processes, the moving average, checkpoints.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import paddle
from paddle import nn

from models.training.engine.cpu_convolution import accelerate, keep_freed_memory
from models.training.engine.loop import Progress
from models.training.engine.processes import Group
from models.training.engine.run import Evaluated, Run, take_step
from models.training.engine.schedule import MovingAverage, Schedule
from models.training.engine.synchronised_norm import synchronise_norms

Module = TypeVar("Module", bound=nn.Layer)
Batch = TypeVar("Batch")
Plan = TypeVar("Plan")
Preparation = Callable[[str, int, int], None]  # what, done, of


@dataclass(frozen=True)
class Context:
    """Where a run takes its pictures from, where it writes, and which process of it this is."""

    data: Path | None  # what the recipe's photos are relative to
    out: Path  # the run's folder, which exists
    prepare: Preparation
    threads: int
    group: Group
    init: Path | None  # weights that a new run starts from


class Task(Protocol[Module, Batch]):
    """A kind of training, made from its plan and a Context: its `__init__` checks everything that can be wrong, then draws pictures.

    Raises TrainingError, RecipeError, DatasetError, ArtifactError, EngineError.
    """

    plan: Any  # the recipe that `last.npz` is held to
    schedule: Schedule
    eval_model: nn.Layer  # of the kind that `served` gives; holds the averaged weights while they are evaluated

    def build(self) -> Module:
        """The training module: everything that learns or remembers, as one layer. Called with the recipe's seed set."""

    def optimizer(self, module: Module) -> paddle.optimizer.Optimizer:
        """What changes the module's parameters."""

    def served(self, module: Module) -> nn.Layer:
        """The network that is evaluated and kept; the moving average follows it."""

    def start(self, module: Module) -> None:
        """Put the weights in that a new run starts from; those of `build` may stay. Not called when a run is resumed."""

    def batches(self, module: Module, steps: range) -> Generator[Batch, None, None]:
        """The batch of this process at each step, decided by (seed, step) alone: a resumed run sees the same ones."""

    def losses(self, module: Module, batch: Batch, step: int, average: MovingAverage) -> Mapping[str, paddle.Tensor]:
        """The weighted parts of the loss, by name; every process names the same ones."""

    def evaluate(self, done: int) -> Evaluated:
        """Evaluate `eval_model` after `done` steps, and say what is kept of it. Called in the group's first process only."""


def fit(
    task: Callable[[Plan, Context], Task[Any, Any]],
    plan: Plan,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Preparation,
    *,
    threads: int = 1,
    init: Path | None = None,
    stop_after: int | None = None,
) -> Path:
    """Run `plan` to its end, or resume where `out/last.npz` stands. Returns `out/best.npz`, the best averaged weights.

    `data` is the folder that the plan's photos are relative to. A new run starts from the weights of `init` where the
    task takes them. `stop_after` ends the run early after that many steps in all, as a kill would, but with a checkpoint.
    Next to the weights are `curve.jsonl`, `curve.png` and `metrics.json`. Under `paddle.distributed.launch` every process
    takes its part of each batch. Raises what the task does, and TrainingError where a loss or a weight is NaN or infinite.
    """
    keep_freed_memory()
    group = Group.from_environment()
    out.mkdir(parents=True, exist_ok=True)
    job = task(plan, Context(data, out, prepare, threads, group, init))
    schedule = job.schedule
    paddle.seed(schedule.seed)
    # The optimiser keeps its state by parameter names: the guards give each run the same ones, whatever ran before here.
    with paddle.utils.unique_name.guard():
        module = job.build()
        optimizer = job.optimizer(module)
    for network in (module, job.eval_model):
        accelerate(network, threads)
    synchronise_norms(module, group)
    if not (out / "last.npz").exists():
        job.start(module)
    average = MovingAverage(job.served(module), schedule.average)
    state = {"module": module, "optimizer": optimizer, "average": average}
    run = Run(out, job.plan, state, group, report, schedule, stop_after=stop_after)

    def evaluate(done: int) -> Evaluated:
        job.eval_model.set_state_dict(average.values)
        return job.evaluate(done)

    with closing(job.batches(module, run.steps)) as batches, paddle.utils.unique_name.guard():
        for step, batch in zip(run.steps, batches, strict=False):
            paddle.seed(
                (schedule.seed * group.size + group.rank) * schedule.steps + step
            )  # dropout, alike when resumed
            optimizer.set_lr(schedule.learning_rate(step))
            module.train()
            values = take_step(job.losses(module, batch, step, average), step, module, optimizer, group)
            average.update(job.served(module), step)
            run.after(step, values, module, evaluate)
    return out / "best.npz"

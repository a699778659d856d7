"""A training run around its steps: where it resumes, one optimiser step, and what is due after each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from models.training.engine.checkpoint import Checkpoint
from models.training.engine.loop import (
    EvalMetrics,
    Progress,
    RunLog,
    Stateful,
    require_finite,
    require_finite_parameters,
    resume_run,
    save_run,
)
from models.training.engine.processes import Group
from models.training.engine.schedule import Schedule


@dataclass(frozen=True)
class Evaluated:
    """The metrics of a network on the eval sets, and what is kept of it if none before had a better score."""

    metrics: EvalMetrics
    score: float
    kept: Checkpoint


class Run:
    """The folder of a run: `last.npz` to resume from, `best.npz`, and the log, which the group's first process writes."""

    def __init__(
        self,
        out: Path,
        recipe: Any,
        state: Mapping[str, Stateful],
        group: Group,
        report: Callable[[Progress], None],
        schedule: Schedule,
        *,
        stop_after: int | None = None,
    ) -> None:
        """Fill `state` from `last.npz` where there is one. Raises TrainingError for another recipe's, ArtifactError."""
        self.first, self._best = resume_run(out / "last.npz", recipe, state)
        self.last = min(schedule.steps, stop_after or schedule.steps)
        self.leads = group.rank == 0 and self.first < self.last
        self._out, self._recipe, self._state, self._group, self._schedule = out, recipe, state, group, schedule
        self._log = RunLog(out, schedule.steps, self.first, report) if self.leads else None

    @property
    def steps(self) -> range:
        """The steps to take, counted from 0."""
        return range(self.first, self.last)

    def after(
        self, step: int, values: Mapping[str, float], network: nn.Layer, evaluate: Callable[[int], Evaluated]
    ) -> None:
        """Log the losses of `step`; at their times check, evaluate, report and save.

        `evaluate` is given how many steps are done. Raises TrainingError for weights that are NaN or infinite.
        """
        done, schedule = step + 1, self._schedule
        evaluated = done % schedule.evaluate_every == 0 or done == self.last
        if self._log is not None:
            images = schedule.images_before(done)
            self._log.add(values, images - schedule.images_before(step))
            if evaluated or done % schedule.report_every == 0:
                require_finite_parameters(network, done)
                speed = self._log.speed()
                metrics = self._keep(evaluate(done)) if evaluated else None
                self._log.report(done, schedule.images_before(self.last) - images, speed, metrics)
            if evaluated or done % schedule.save_every == 0:
                save_run(self._out / "last.npz", self._recipe, done, self._best, self._state)
        if evaluated:
            self._group.wait(f"evaluation at {done}")

    def _keep(self, found: Evaluated) -> EvalMetrics:
        """Save what was evaluated as `best.npz` unless something before was better; returns the metrics."""
        if found.score >= self._best:
            self._best = found.score
            found.kept.save(self._out / "best.npz")
        return found.metrics


def take_step(
    losses: Mapping[str, paddle.Tensor],
    step: int,
    network: nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    group: Group,
) -> dict[str, float]:
    """One optimiser step down the sum of `losses`; returns their means over the group. Raises TrainingError for NaN."""
    values = group.mean({name: float(loss) for name, loss in losses.items()})
    require_finite(values, step)
    sum(losses.values(), paddle.zeros([])).backward()
    group.average_gradients(network)
    optimizer.step()
    optimizer.clear_grad()
    return values


def score_of(metrics: Mapping[str, float], select_by: Sequence[str], step: int) -> float:
    """The mean of the eval sets that `select_by` names, or of all where none of those is there; without any, later is better."""
    selected = [metrics[name] for name in select_by if name in metrics] or list(metrics.values())
    return float(np.mean(selected)) if selected else float(step)

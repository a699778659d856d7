"""A training run around its steps: where it goes on, one optimiser step, and what is due after each."""

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
    require_numbers,
    resume_run,
    save_run,
)
from models.training.engine.processes import Group


@dataclass(frozen=True)
class Evaluated:
    """What eval sets said of a network, and what is kept of it if none before was better."""

    figures: EvalMetrics
    score: float
    kept: Checkpoint


class Run:
    """The folder of a run: `last.npz` to go on from, `best.npz`, and the log, which the group's first process writes."""

    def __init__(
        self,
        out: Path,
        recipe: Any,
        parts: Mapping[str, Stateful],
        group: Group,
        report: Callable[[Progress], None],
        steps: int,
        evaluate_every: int,
        *,
        stop_after: int | None = None,
        report_every: int = 50,
        save_every: int = 250,
    ) -> None:
        """Fill `parts` from `last.npz` where there is one. Raises TrainingError for another recipe's, ArtifactError."""
        self.first, self._best = resume_run(out / "last.npz", recipe, parts)
        self.last = min(steps, stop_after or steps)
        self.leads = group.rank == 0 and self.first < self.last
        self._out, self._recipe, self._parts, self._group = out, recipe, parts, group
        self._evaluate_every, self._report_every, self._save_every = evaluate_every, report_every, save_every
        self._log = RunLog(out, steps, self.first, report) if self.leads else None

    @property
    def steps(self) -> range:
        """The steps to take, counted from 0."""
        return range(self.first, self.last)

    def after(
        self,
        step: int,
        values: Mapping[str, float],
        pictures: int,
        pictures_left: int,
        network: nn.Layer,
        evaluate: Callable[[int], Evaluated],
    ) -> None:
        """Log the losses of `step` and the `pictures` it took; at their times check, evaluate, report and save.

        `evaluate` is given how many steps are done. Raises TrainingError for weights that are no numbers.
        """
        done = step + 1
        evaluated = done % self._evaluate_every == 0 or done == self.last
        if self._log is not None:
            self._log.add(values, pictures)
            if evaluated or done % self._report_every == 0:
                require_numbers(network, done)
                speed = self._log.speed()
                figures = self.keep(evaluate(done)) if evaluated else None
                self._log.tell(done, pictures_left, speed, figures)
            if evaluated or done % self._save_every == 0:
                save_run(self._out / "last.npz", self._recipe, done, self._best, self._parts)
        if evaluated:
            self._group.wait(f"evaluation at {done}")

    def keep(self, found: Evaluated) -> EvalMetrics:
        """Save what was evaluated as `best.npz` unless something before was better; returns the figures."""
        if found.score >= self._best:
            self._best = found.score
            found.kept.save(self._out / "best.npz")
        return found.figures


def take_step(
    parts: Mapping[str, paddle.Tensor],
    step: int,
    network: nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    group: Group,
) -> dict[str, float]:
    """One optimiser step down the sum of `parts`; returns their means over the group. Raises TrainingError for NaN."""
    values = group.mean({name: float(part) for name, part in parts.items()})
    require_finite(values, step)
    sum(parts.values(), paddle.zeros([])).backward()
    group.average_gradients(network)
    optimizer.step()
    optimizer.clear_grad()
    return values


def score_of(figures: Mapping[str, float], select_by: Sequence[str], step: int) -> float:
    """The mean of the eval sets that choose, or of all where none of those was taken; without eval sets later steps are better."""
    asked = [figures[name] for name in select_by if name in figures] or list(figures.values())
    return float(np.mean(asked)) if asked else float(step)

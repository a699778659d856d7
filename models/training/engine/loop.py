"""A run's log and speed, the checks for NaN and infinity, and what `last.npz` holds."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle
from paddle import nn

from models.training.engine.checkpoint import Checkpoint, to_arrays, to_tensors
from models.training.engine.curves import draw_curve
from models.training.errors import TrainingError
from models.training.recipes.reading import as_table

DRAW_EVERY_S = 15.0  # a drawing takes as long as a step of a small network, and nobody looks more often
EvalMetrics = Mapping[str, Any]  # eval set -> its metric, or its metrics by name


@dataclass(frozen=True)
class Progress:
    """One line of a run's log."""

    step: int
    steps: int
    losses: dict[str, float]  # means since the line before
    images_per_s: float
    eta_s: float
    eval: EvalMetrics  # empty between evaluations


class Stateful(Protocol):
    """A network, an optimiser, a moving average, a loss with a memory: tensors by name that can be put back."""

    def state_dict(self) -> dict[str, Any]: ...

    def set_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class RunLog:
    """The lines of `curve.jsonl`, one every so many steps, and with each evaluation `metrics.json`.

    `curve.png` is plotted with an evaluation too, at most every DRAW_EVERY_S seconds and with the last.
    """

    def __init__(self, folder: Path, steps: int, first_step: int, report: Callable[[Progress], None]) -> None:
        """Lines after `first_step`, which a killed run wrote after its last checkpoint, are taken back."""
        self._folder, self._steps, self._report = folder, steps, report
        self._curve = folder / "curve.jsonl"
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._clock, self._images = time.monotonic(), 0
        self._drawn = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        _forget_after(self._curve, first_step)

    def add(self, losses: Mapping[str, float], images: int) -> None:
        """Count a step's losses, and the images it took."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._images += images

    def speed(self) -> float:
        """Images a second since the last evaluation; take it before the next one begins."""
        return self._images / max(time.monotonic() - self._clock, 1e-9)

    def report(self, step: int, images_left: int, images_per_s: float, eval_metrics: EvalMetrics | None = None) -> None:
        """Write and report the line of `step`, counted from 1. With `eval_metrics`, what comes next is timed again from 0."""
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums, self._counts = {}, {}
        line = Progress(
            step, self._steps, means, images_per_s, images_left / max(images_per_s, 1e-9), eval_metrics or {}
        )
        with self._curve.open("a", encoding="utf-8") as file:
            kept = {"step": step, "losses": means, "eval": line.eval, "images_per_s": images_per_s}
            file.write(json.dumps(kept) + "\n")
        self._report(line)
        if eval_metrics is not None:
            if images_left <= 0 or time.monotonic() - self._drawn > DRAW_EVERY_S:
                draw_curve(self._curve, self._folder / "curve.png")
                self._drawn = time.monotonic()
            metrics = {"step": step, "steps": self._steps, "losses": means, "eval": eval_metrics}
            (self._folder / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
            self._clock, self._images = time.monotonic(), 0


def require_finite(losses: Mapping[str, float], step: int) -> None:
    """Raises TrainingError where a loss is NaN or infinite."""
    if not np.isfinite(sum(losses.values())):
        raise TrainingError(f"the loss is {dict(losses)} at step {step}; lower learning_rate or check the data")


def require_finite_parameters(network: nn.Layer, step: int) -> None:
    """Raises TrainingError for weights that are NaN or infinite, which Paddle's `relu` turns to 0 and a finite loss may hide."""
    for name, parameter in network.named_parameters():
        if not bool(paddle.isfinite(parameter).all()):
            raise TrainingError(f"{name} is NaN or infinite at step {step}; lower learning_rate or check the data")


def save_run(path: Path, recipe: Any, step: int, best: float, state: Mapping[str, Stateful]) -> None:
    """Write `last.npz`: everything needed to resume after `step` steps."""
    groups = {name: to_arrays(part.state_dict()) for name, part in state.items()}
    Checkpoint(groups, {"step": step, "best": best, "recipe": as_table(recipe)}).save(path)


def resume_run(path: Path, recipe: Any, state: Mapping[str, Stateful]) -> tuple[int, float]:
    """Fill `state` from `last.npz`; returns the step and the best score so far, 0 and -1 where there is no such file.

    Raises TrainingError for another recipe's file, ArtifactError for a damaged one.
    """
    if not path.exists():
        return 0, -1.0
    checkpoint = Checkpoint.load(path)
    if checkpoint.progress.get("recipe") != json.loads(json.dumps(as_table(recipe))):
        raise TrainingError(f"{path} belongs to another recipe; choose another --out or remove it")
    for name, part in state.items():
        part.set_state_dict(to_tensors(checkpoint.groups.get(name, {})))
    return int(checkpoint.progress["step"]), float(checkpoint.progress["best"])


def _forget_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:  # cut off in the middle
            continue
    path.write_text("".join(kept), encoding="utf-8")

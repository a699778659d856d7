"""What changes with the step: the learning rate, and the moving average of the weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import paddle
from paddle import nn


def cosine_learning_rate(
    step: int, total_steps: int, peak: float, warmup_steps: int, final: float = 0.0, start: float = 0.0
) -> float:
    """Linear from the fraction `start` of `peak` over the warm-up, then half a cosine down to the fraction `final` of it."""
    if step < warmup_steps:
        return peak * (start + (1.0 - start) * (step + 1) / warmup_steps)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))


class Stage(Protocol):
    """A stretch of training with one batch size."""

    @property
    def steps(self) -> int:
        """How many."""

    @property
    def batch(self) -> int:
        """Images a step, over all processes."""


def images_before(stages: Sequence[Stage], step: int) -> int:
    """How many images the batches before `step` have."""
    taken = 0
    for stage in stages:
        here = min(step, stage.steps)
        taken, step = taken + here * stage.batch, step - here
    return taken


@dataclass(frozen=True)
class AverageRule:
    """The moving average's decay; with a `cycle`, after so many steps it forgets what was before (PP-PicoDet, section 3).

    With `adopt`, training continues from the average at the end of each cycle.
    """

    decay: float
    cycle: int = 0  # steps; 0: none
    adopt: bool = False


@dataclass(frozen=True)
class Schedule:
    """What happens when."""

    seed: int
    steps: int
    evaluate_every: int
    learning_rate: Callable[[int], float]  # of a step, from 0
    images_before: Callable[[int], int]  # how many the steps before one take, over all processes
    average: AverageRule = AverageRule(0.0)
    report_every: int = 50
    save_every: int = 250


class MovingAverage:
    """Exponential moving average of a network: its parameters, and its batch statistics with them.

    The averaged weights see other activations than the trained ones, so the statistics are averaged too; those of the
    last step would shift every embedding. The decay grows from 0 with the step, min(decay, (1 + t) / (10 + t)), so that
    early weights are soon forgotten.
    """

    def __init__(self, network: nn.Layer, rule: AverageRule) -> None:
        self.rule = rule
        self.values = {name: tensor.clone().detach() for name, tensor in network.state_dict().items()}

    @paddle.no_grad()
    def update(self, network: nn.Layer, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 0)."""
        cycle = self.rule.cycle
        place = step % cycle if cycle else step
        decay = min(self.rule.decay, (1 + place) / (10 + place))
        for name, tensor in network.state_dict().items():
            self.values[name].scale_(decay)
            self.values[name].add_(tensor.detach() * (1.0 - decay))
        if self.rule.adopt and cycle and place + 1 == cycle:
            network.set_state_dict(self.values)

    def state_dict(self) -> dict[str, paddle.Tensor]:
        """The averaged values, by name."""
        return dict(self.values)

    def set_state_dict(self, state_dict: dict[str, paddle.Tensor]) -> None:
        """Put a run's average back."""
        self.values = dict(state_dict)

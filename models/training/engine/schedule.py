"""What changes with the step: the learning rate, and the moving average of the weights."""

import math

import paddle
from paddle import nn


def cosine_learning_rate(step: int, total_steps: int, peak: float, warmup_steps: int, final: float = 0.0) -> float:
    """Linear from 0 to `peak` over the warm-up, then half a cosine down to the share `final` of it."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))


class MovingAverage:
    """Exponential moving average of a network: its parameters, and its batch statistics with them.

    The averaged weights see other activations than the trained ones, so the statistics are averaged too; those of the
    last step would shift every embedding. The decay grows from 0 with the step, min(decay, (1 + t) / (10 + t)), so that
    early weights are soon forgotten.
    """

    def __init__(self, network: nn.Layer, decay: float) -> None:
        self.decay = decay
        self.values = {name: tensor.clone().detach() for name, tensor in network.state_dict().items()}

    @paddle.no_grad()
    def update(self, network: nn.Layer, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            self.values[name].scale_(decay)
            self.values[name].add_(tensor.detach() * (1.0 - decay))

    def state_dict(self) -> dict[str, paddle.Tensor]:
        """The averaged values, by name."""
        return dict(self.values)

    def set_state_dict(self, state_dict: dict[str, paddle.Tensor]) -> None:
        """Put a run's average back."""
        self.values = dict(state_dict)

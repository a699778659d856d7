"""The optimisers that recipes name."""

from collections.abc import Mapping

import paddle
from paddle import nn


def learnt(network: nn.Layer) -> list[paddle.Tensor]:
    """The parameters that gradients reach."""
    return [parameter for parameter in network.parameters() if not parameter.stop_gradient]


def adamw(
    network: nn.Layer,
    learning_rate: float,
    weight_decay: float,
    clip_norm: float = 0.0,
    ratios: Mapping[str, float] | None = None,
) -> paddle.optimizer.Optimizer:
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101), which decays neither biases nor batch norms.

    Gradients whose norm over all parameters is beyond `clip_norm` are scaled down to it; 0 lets them be.
    `ratios`: factors of the learning rate, by the parameters' own names.
    """
    parameters = learnt(network)
    for parameter in parameters:  # what `ParamAttr(learning_rate=...)` sets; AdamW's own `lr_ratio` works on GPUs alone
        parameter.optimize_attr["learning_rate"] *= (ratios or {}).get(parameter.name, 1.0)
    decayed = {parameter.name for parameter in parameters if len(parameter.shape) > 1}
    return paddle.optimizer.AdamW(
        learning_rate,
        parameters=parameters,
        weight_decay=weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=_clip(clip_norm),
    )


def momentum(
    network: nn.Layer, learning_rate: float, weight_decay: float, clip_norm: float = 0.0, inertia: float = 0.9
) -> paddle.optimizer.Optimizer:
    """Gradient descent with momentum, and L2 over all parameters, as PaddleClas and PaddleDetection have it."""
    return paddle.optimizer.Momentum(
        learning_rate,
        inertia,
        parameters=learnt(network),
        weight_decay=paddle.regularizer.L2Decay(weight_decay),
        grad_clip=_clip(clip_norm),
    )


def _clip(norm: float) -> nn.ClipGradByGlobalNorm | None:
    return nn.ClipGradByGlobalNorm(norm) if norm else None

"""Batch normalisation over the pictures of all processes: the statistics are those of the whole batch.

Ioffe and Szegedy, arXiv:1502.03167, algorithm 1, with means and variances of the parts joined as in Chan et al.,
"Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979): no difference of large sums.
Paddle's own nn.SyncBatchNorm runs on GPUs only; this one is made of its plain batch norm and runs wherever that does.
"""

from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn
from paddle.autograd import PyLayer

from models.training.engine.processes import Group

NORMS = (nn.BatchNorm1D, nn.BatchNorm2D)


def synchronise_norms(network: nn.Layer, group: Group) -> int:
    """Let every batch norm of `network` use the group's statistics while it trains; returns how many do.

    Parameters, buffers and their names stay. Nothing changes in a group of one, in evaluation or while tracing.
    """
    if group.size == 1:
        return 0
    norms = [layer for layer in network.sublayers(include_self=True) if isinstance(layer, NORMS)]
    for norm in norms:
        _bind(norm, group)
    return len(norms)


def _bind(norm: nn.Layer, group: Group) -> None:
    alone = norm.forward

    def forward(x: paddle.Tensor) -> paddle.Tensor:
        if not norm.training or not paddle.in_dynamic_mode():
            return alone(x)
        mean, variance = whole_statistics(x, norm._epsilon, group)
        with paddle.no_grad():
            for kept, new in ((norm._mean, mean), (norm._variance, variance)):
                kept.set_value(kept * norm._momentum + new * (1.0 - norm._momentum))
        return _BatchNorm.apply(x, norm.weight, norm.bias, mean, variance, norm._epsilon, group)

    norm.forward = forward


@paddle.no_grad()
def whole_statistics(x: paddle.Tensor, epsilon: float, group: Group) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Mean and biased variance (C,) of x (n, C, ...) over all processes, each of which has as many pictures."""
    one, zero = paddle.ones([x.shape[1]]), paddle.zeros([x.shape[1]])
    mean, variance = zero.clone(), one.clone()
    F.batch_norm(x, mean, variance, one, zero, training=True, momentum=0.0, epsilon=epsilon)  # fills them in one pass
    parts = paddle.stack(group.all_gather(paddle.stack([mean, variance])))  # (size, 2, C)
    means, variances = parts[:, 0], parts[:, 1]
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


class _BatchNorm(PyLayer):
    """y = weight * (x - mean) / sqrt(variance + epsilon) + bias, where mean and variance are functions of all parts of x."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, epsilon: float, group: Group
    ) -> Any:
        inputs = [tensor.detach() for tensor in (x, weight, bias)]
        for tensor in inputs:
            tensor.stop_gradient = False
        with paddle.enable_grad():  # mean and variance held still; what they add to the gradient comes in `backward`
            y = F.batch_norm(inputs[0], mean, variance, *inputs[1:], training=False, epsilon=epsilon)
        ctx.held_still = (inputs, y)
        ctx.statistics = (mean, paddle.rsqrt(variance + epsilon))
        ctx.group = group
        return y.detach()

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        inputs, y = ctx.held_still
        ctx.held_still = None
        dx, dweight, dbias = paddle.grad([y], inputs, [dy])
        x, weight, _ = (tensor.detach() for tensor in inputs)
        mean, inverse = ctx.statistics
        count = x.size // x.shape[1] * ctx.group.size
        dweight_mean, dbias_mean = sum(ctx.group.all_gather(paddle.stack([dweight, dbias]))) / count
        # dx -= weight * inverse * (mean(dy) + normalised x * mean(dy * normalised x)): an affine map of each channel
        scale = weight * inverse
        one = paddle.ones_like(mean)
        dx -= F.batch_norm(
            x, mean, one, scale * inverse * dweight_mean, scale * dbias_mean, training=False, epsilon=0.0
        )
        return dx, dweight, dbias, None, None

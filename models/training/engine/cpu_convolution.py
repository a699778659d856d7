"""Convolutions for training on a CPU: PyTorch's oneDNN kernels under Paddle's layers, where PyTorch is installed.

Paddle trains depthwise and 1x1 convolutions on a CPU through im2col, image by image. PyTorch's kernels give the same
values several times faster, so `accelerate` lends them to a network's layers: parameters, autograd and optimiser stay
Paddle's, tensors cross without a copy (DLPack), and without PyTorch nothing changes but the time.
"""

import ctypes
import importlib.util
from types import MethodType
from typing import Any

import paddle
from paddle import nn
from paddle.autograd import PyLayer

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's mallopt(3)


def accelerate(network: nn.Layer, threads: int) -> bool:
    """Let every plain 2-D convolution of `network` run on PyTorch's kernels. False, and no change, without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    torch.set_num_threads(threads)
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, nn.Conv2D) and _is_plain(layer):
            _bind(layer)
    return True


def keep_freed_memory() -> None:
    """Ask glibc to keep freed activations instead of returning them to the kernel at each step: page faults are expensive."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc: only slower
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(M_TOP_PAD, 1 << 28)


def _is_plain(layer: nn.Conv2D) -> bool:
    """Not dilated, and padded alike on all sides with zeros."""
    alike = isinstance(layer._padding, int) and layer._padding_mode == "zeros"
    return alike and tuple(layer._dilation) == (1, 1) and layer._data_format == "NCHW"


def _bind(layer: nn.Conv2D) -> None:
    layer.forward = MethodType(_forward, layer)  # bound, so that a copy of the layer computes with its own weights


def _forward(layer: nn.Conv2D, x: paddle.Tensor) -> paddle.Tensor:
    if not paddle.in_dynamic_mode():  # being traced for export
        return type(layer).forward(layer, x)
    geometry = tuple(layer._stride), int(layer._padding), int(layer._groups)
    return _Convolution.apply(x, layer.weight, layer.bias, *geometry)


def _to_torch(x: paddle.Tensor) -> Any:
    from torch.utils.dlpack import from_dlpack

    return from_dlpack(x.detach())


def _to_paddle(x: Any) -> paddle.Tensor:
    return paddle.utils.dlpack.from_dlpack(x.contiguous())


class _Convolution(PyLayer):
    """y = conv2d(x, weight) + bias, `padding` zeros on each side; x (N, C, H, W), weight (C', C / groups, k, k)."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, stride: tuple[int, int], padding: int, groups: int) -> Any:
        import torch

        y = torch.ops.aten.convolution(
            _to_torch(x),
            _to_torch(weight),
            None if bias is None else _to_torch(bias),
            stride,
            [padding] * 2,
            [1, 1],
            False,
            [0, 0],
            groups,
        )
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, groups)
        ctx.needs = (not x.stop_gradient, not weight.stop_gradient, bias is not None and not bias.stop_gradient)
        ctx.has_bias = bias is not None
        return _to_paddle(y)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, weight = ctx.saved_tensor()
        stride, padding, groups = ctx.geometry
        needs_x, needs_weight, needs_bias = ctx.needs
        grad, source, kernel = _to_torch(dy), _to_torch(x), _to_torch(weight)
        depthwise = groups > 1 and kernel.shape[1] == 1
        by_blocks = depthwise and tuple(kernel.shape[-2:]) == (5, 5) and needs_weight
        spread = depthwise and stride != (1, 1) and needs_x
        dx, dweight, dbias = _gradients(
            grad,
            source,
            kernel,
            stride,
            padding,
            groups,
            (needs_x and not spread, needs_weight and not by_blocks, needs_bias),
        )
        if by_blocks:
            dweight = _depthwise_5x5_gradient(grad, source, kernel, stride, padding, groups)
        if spread:
            dx = _strided_input_gradient(grad, source, kernel, stride, padding, groups)
        gradients = [_to_paddle(dx) if needs_x else None, _to_paddle(dweight) if needs_weight else None]
        if ctx.has_bias:
            gradients.append(_to_paddle(dbias) if needs_bias else None)
        return tuple(gradients)


def _gradients(
    grad: Any, x: Any, weight: Any, stride: tuple[int, int], padding: int, groups: int, needs: tuple[bool, bool, bool]
) -> tuple[Any, Any, Any]:
    import torch

    bias_sizes = [weight.shape[0]] if needs[2] else None
    gradients: tuple[Any, Any, Any] = torch.ops.aten.convolution_backward(
        grad, x, weight, bias_sizes, stride, [padding] * 2, [1, 1], False, [0, 0], groups, list(needs)
    )
    return gradients


def _depthwise_5x5_gradient(grad: Any, x: Any, weight: Any, stride: tuple[int, int], padding: int, groups: int) -> Any:
    """The gradient of a 5x5 depthwise kernel, from four overlapping 3x3 ones.

    oneDNN has a fast path for 3x3 and none for 5x5 (measured 0.6 against 35 ms on 256 channels of 6x6, batch 64).
    dW[a, b] = sum over y, x of dY[y, x] * X[s y + a, s x + b], so rows a = 0..2 and 2..4 are 3x3 problems on X shifted by 0 and 2.
    """
    import torch

    padded = torch.nn.functional.pad(x, [padding] * 4)
    rows, columns = ((n - 1) * s + 3 for n, s in zip(grad.shape[2:], stride, strict=True))
    corner = weight[:, :, :3, :3].contiguous()
    dweight = torch.empty_like(weight)
    for top in (0, 2):
        for left in (0, 2):
            block = padded[:, :, top : top + rows, left : left + columns].contiguous()
            _, part, _ = _gradients(grad, block, corner, stride, 0, groups, (False, True, False))
            dweight[:, :, top : top + 3, left : left + 3] = part
    return dweight


def _strided_input_gradient(grad: Any, x: Any, weight: Any, stride: tuple[int, int], padding: int, groups: int) -> Any:
    """The input gradient of a strided depthwise convolution: that of stride 1, with zeros between dY's rows.

    Four times the arithmetic, yet faster: oneDNN's strided path is a plain loop (118 ms on 32 channels of 48x48, batch 96).
    """
    sides = [n + 2 * padding - k + 1 for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)]  # what stride 1 gives
    spread = grad.new_zeros((*grad.shape[:2], *sides))
    spread[:, :, :: stride[0], :: stride[1]] = grad
    dx, _, _ = _gradients(spread, x, weight, (1, 1), padding, groups, (True, False, False))
    return dx

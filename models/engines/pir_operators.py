"""Paddle's operators in OpenVINO's: a function of each takes a Node and gives a value, or a tuple of them.

A value is an OpenVINO output, or a list of such where Paddle has a vector of tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = {"float32": "f32", "float64": "f32", "int32": "i32", "int64": "i64", "bool": "boolean"}
NUMPY = {"float32": np.float32, "float64": np.float32, "int32": np.int32, "int64": np.int64, "bool": np.bool_}


class UnknownOperatorError(ValueError):
    """An operator is used in a way that is not known here; the text says which."""


@dataclass(frozen=True)
class Node:
    """An operator in the building: `ops` is OpenVINO's operator set, `reads` its inputs, None where one is left out."""

    ops: Any
    attributes: dict[str, Any]
    reads: list[Any]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def whole(self, place: int) -> list[int]:
        """The numbers of an input that is constant."""
        node = self.reads[place]
        if isinstance(node, list):
            return [int(one) for value in node for one in np.ravel(constant(value))]
        return [int(one) for one in np.ravel(constant(node))]

    def numbers(self, values: Any) -> Any:
        """A constant of whole numbers."""
        return self.ops.constant(np.asarray(values, np.int64))

    def real(self, value: float) -> Any:
        """A constant of one number."""
        return self.ops.constant(np.float32(value))


def constant(value: Any) -> Any:
    """The numbers of a constant. Raises UnknownOperatorError for a value that is computed."""
    node = value if hasattr(value, "get_data") else value.get_node()
    if not hasattr(node, "get_data"):
        raise UnknownOperatorError("a size is computed by the program itself")
    return node.get_data()


def _one(name: str, *following: float) -> Callable[[Node], Any]:
    return lambda node: getattr(node.ops, name)(node.reads[0], *following)


def _two(name: str) -> Callable[[Node], Any]:
    return lambda node: getattr(node.ops, name)(node.reads[0], node.reads[1])


def _pads(node: Node) -> tuple[list[int], list[int], str]:
    """Before and after each side, and OpenVINO's word for the rule."""
    rule = node.get("padding_algorithm", "EXPLICIT")
    pads = [int(one) for one in node.get("paddings", (0, 0))]
    before, after = (pads[::2], pads[1::2]) if len(pads) == 4 else (pads, pads)
    return before, after, {"SAME": "same_upper", "VALID": "valid"}.get(rule, "explicit")


def _nchw(node: Node) -> None:
    if node.get("data_format", "NCHW") not in {"NCHW", "AnyLayout"}:
        raise UnknownOperatorError(f"the layout {node.get('data_format')}")


def _convolution(node: Node) -> Any:
    _nchw(node)
    pixels, kernel = node.reads
    before, after, rule = _pads(node)
    groups = node.get("groups", 1)
    how = (list(node.get("strides")), before, after, list(node.get("dilations", (1, 1))))
    if groups == 1:
        return node.ops.convolution(pixels, kernel, *how, auto_pad=rule)
    out, held, *sides = kernel.get_output_shape(0)
    grouped = node.ops.constant(np.reshape(constant(kernel), (groups, out // groups, held, *sides)))
    return node.ops.group_convolution(pixels, grouped, *how, auto_pad=rule)


def _batch_norm(node: Node) -> Any:
    _nchw(node)
    pixels, mean, variance, scale, bias = node.reads
    # The order of OpenVINO: scale, shift, mean, variance.
    return node.ops.batch_norm_inference(pixels, scale, bias, mean, variance, node.get("epsilon", 1e-5))


def _layer_norm(node: Node) -> Any:
    sizes = _partial(node.reads[0])
    first = node.get("begin_norm_axis", 1)
    made = node.ops.mvn(
        node.reads[0], node.numbers(range(first, len(sizes))), True, node.get("epsilon", 1e-5), "inside_sqrt"
    )
    for place, apply in ((1, node.ops.multiply), (2, node.ops.add)):
        if node.reads[place] is not None:  # one row of numbers for all the axes
            shape = [size.get_length() for size in list(sizes)[first:]]
            made = apply(made, node.ops.reshape(node.reads[place], node.numbers(shape), False))
    return made


def _pool(node: Node) -> Any:
    _nchw(node)
    kernel = node.whole(1) if len(node.reads) > 1 else [int(one) for one in node.get("kernel_size")]
    average = node.get("pooling_type") == "avg"
    adaptive = node.get("adaptive", False)
    if node.get("global_pooling", False) or (adaptive and kernel == [1, 1]):
        reduce = node.ops.reduce_mean if average else node.ops.reduce_max
        return reduce(node.reads[0], node.numbers([2, 3]), True)
    if adaptive:
        if not average:
            raise UnknownOperatorError("an adaptive maximum")
        return node.ops.adaptive_avg_pool(node.reads[0], node.numbers(kernel))
    before, after, rule = _pads(node)
    rounding = "ceil" if node.get("ceil_mode", False) else "floor"
    strides = [int(one) for one in node.get("strides")]
    if average:
        return node.ops.avg_pool(
            node.reads[0], strides, before, after, kernel, bool(node.get("exclusive", True)), rounding, rule
        )
    return node.ops.max_pool(node.reads[0], strides, [1, 1], before, after, kernel, rounding, rule).output(0)


def _interpolate(node: Node) -> Any:
    _nchw(node)
    if any(one is not None for one in node.reads[1:]):
        raise UnknownOperatorError("a size that the program computes")
    how = node.get("interp_method", "nearest")
    corners, half = node.get("align_corners", False), node.get("align_mode", 1) == 0
    if how == "nearest" and not corners:
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif how == "bilinear":
        turned = "align_corners" if corners else "half_pixel" if half else "asymmetric"
        modes = {"mode": "linear_onnx", "coordinate_transformation_mode": turned}
    else:
        raise UnknownOperatorError(f"the interpolation {how}")
    sides = [int(node.get(name, -1)) for name in ("out_h", "out_w")]
    if min(sides) > 0:
        target, rule = node.numbers(sides), "sizes"
    else:
        scale = [float(one) for one in node.get("scale")]
        target, rule = node.ops.constant(np.asarray(scale if len(scale) == 2 else scale * 2, np.float32)), "scales"
    return node.ops.interpolate(node.reads[0], target, shape_calculation_mode=rule, axes=node.numbers([2, 3]), **modes)


def _scale(node: Node) -> Any:
    factor, bias = node.reads[1], node.real(node.get("bias", 0.0))
    if node.get("bias_after_scale", True):
        return node.ops.add(node.ops.multiply(node.reads[0], factor), bias)
    return node.ops.multiply(node.ops.add(node.reads[0], bias), factor)


def _dropout(node: Node) -> Any:
    if node.get("mode") != "downgrade_in_infer":
        return node.reads[0]
    return node.ops.multiply(node.reads[0], node.real(1 - float(np.ravel(constant(node.reads[2]))[0])))


def _flatten(node: Node) -> Any:
    rank = _rank(node.reads[0])
    first, last = (place % rank for place in (node.get("start_axis", 1), node.get("stop_axis", -1)))
    if first == 1 and last == rank - 1:
        return node.ops.reshape(node.reads[0], node.numbers([0, -1]), True)
    kept = rank - 1 - last
    if kept and first + 1 + kept > 1:
        sizes = node.ops.shape_of(node.reads[0])
        tail = node.ops.gather(sizes, node.numbers(range(last + 1, rank)), node.numbers(0))
        parts = [node.numbers([0] * first), node.numbers([-1]), tail]
        return node.ops.reshape(node.reads[0], node.ops.concat([part for part in parts if _rank(part)], 0), True)
    return node.ops.reshape(node.reads[0], node.numbers([0] * first + [-1]), True)


def _partial(value: Any) -> Any:
    """The shape of a node's first output, or of an output."""
    return value.get_partial_shape() if hasattr(value, "get_partial_shape") else value.get_output_partial_shape(0)


def _rank(value: Any) -> int:
    return len(_partial(value))


def _sizes(node: Node, place: int) -> Any:
    """An input of sizes: one value, or a list of numbers."""
    given = node.reads[place]
    if not isinstance(given, list):
        return given
    return node.ops.concat(
        [node.ops.reshape(node.ops.convert(one, "i64"), node.numbers([1]), False) for one in given], 0
    )


def _slice(node: Node) -> Any:
    axes = [int(one) for one in node.get("axes")]
    starts, ends = _sizes(node, 1), _sizes(node, 2)
    made = node.ops.slice(node.reads[0], starts, ends, node.numbers([1] * len(axes)), node.numbers(axes))
    gone = [int(one) for one in node.get("decrease_axis", ())]
    return node.ops.squeeze(made, node.numbers(gone)) if gone else made


def _reduced(name: str) -> Callable[[Node], Any]:
    def reduce(node: Node) -> Any:
        axes = node.whole(1) if len(node.reads) > 1 else [int(one) for one in node.get("axis") or ()]
        return getattr(node.ops, name)(
            node.reads[0], node.numbers(axes or range(_rank(node.reads[0]))), bool(node.get("keepdim", False))
        )

    return reduce


def _expand(node: Node) -> Any:
    sizes = [1 if one == -1 else one for one in node.whole(1)]
    return node.ops.broadcast(node.reads[0], node.numbers(sizes), broadcast_spec="BIDIRECTIONAL")


def _split(node: Node) -> list[Any]:
    made = node.ops.variadic_split(node.reads[0], node.numbers(node.whole(2)[0]), node.numbers(node.whole(1)))
    return list(made.outputs())


def _matmul(node: Node) -> Any:
    return node.ops.matmul(node.reads[0], node.reads[1], bool(node.get("transpose_x")), bool(node.get("transpose_y")))


def _full(node: Node) -> Any:
    kind = NUMPY[node.get("dtype")]
    return node.ops.constant(np.full([int(one) for one in node.get("shape")], node.get("value"), kind))


def _stack(node: Node) -> Any:
    axis = node.numbers([int(node.get("axis", 0))])
    return node.ops.concat([node.ops.unsqueeze(one, axis) for one in node.reads[0]], int(node.get("axis", 0)))


OPERATORS: dict[str, Callable[[Node], Any]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "batch_norm": _batch_norm,
    "batch_norm_": _batch_norm,
    "layer_norm": _layer_norm,
    "pool2d": _pool,
    "max_pool2d_with_index": _pool,
    "nearest_interp": _interpolate,
    "bilinear_interp": _interpolate,
    "relu": _one("relu"),
    "relu_": _one("relu"),
    "relu6": _one("clamp", 0.0, 6.0),
    "sigmoid": _one("sigmoid"),
    "sigmoid_": _one("sigmoid"),
    "tanh": _one("tanh"),
    "exp": _one("exp"),
    "sqrt": _one("sqrt"),
    "abs": _one("abs"),
    "hardswish": _one("hswish"),
    "swish": _one("swish"),
    "silu": _one("swish"),
    "leaky_relu": lambda node: node.ops.prelu(node.reads[0], node.real(node.get("negative_slope", 0.01))),
    "hardsigmoid": lambda node: node.ops.hard_sigmoid(
        node.reads[0], node.real(node.get("slope", 1 / 6)), node.real(node.get("offset", 0.5))
    ),
    "gelu": lambda node: node.ops.gelu(node.reads[0], "tanh" if node.get("approximate") else "erf"),
    "softmax": lambda node: node.ops.softmax(node.reads[0], int(node.get("axis", -1))),
    "add": _two("add"),
    "add_": _two("add"),
    "subtract": _two("subtract"),
    "multiply": _two("multiply"),
    "divide": _two("divide"),
    "maximum": _two("maximum"),
    "minimum": _two("minimum"),
    "elementwise_pow": _two("power"),
    "matmul": _matmul,
    "scale": _scale,
    "scale_": _scale,
    "dropout": _dropout,
    "mean": _reduced("reduce_mean"),
    "sum": _reduced("reduce_sum"),
    "max": _reduced("reduce_max"),
    "reshape": lambda node: node.ops.reshape(node.reads[0], _sizes(node, 1), True),
    "reshape_": lambda node: node.ops.reshape(node.reads[0], _sizes(node, 1), True),
    "flatten": _flatten,
    "flatten_": _flatten,
    "squeeze": lambda node: node.ops.squeeze(node.reads[0], node.numbers(node.whole(1))),
    "unsqueeze": lambda node: node.ops.unsqueeze(node.reads[0], node.numbers(node.whole(1))),
    "transpose": lambda node: node.ops.transpose(node.reads[0], node.numbers(node.get("perm"))),
    "concat": lambda node: node.ops.concat(list(node.reads[0]), node.whole(1)[0]),
    "stack": _stack,
    "split": _split,
    "split_with_num": lambda node: list(
        node.ops.split(node.reads[0], node.numbers(node.whole(1)[0]), node.get("num")).outputs()
    ),
    "slice": _slice,
    "expand": _expand,
    "shape": lambda node: node.ops.shape_of(node.reads[0], "i32"),
    "shape64": lambda node: node.ops.shape_of(node.reads[0], "i64"),
    "cast": lambda node: node.ops.convert(node.reads[0], TYPES[node.get("dtype")]),
    "full": _full,
    "full_int_array": lambda node: node.numbers(node.get("value")),
    "assign": lambda node: node.reads[0],
    "share_data_": lambda node: node.reads[0],
    "builtin.combine": lambda node: list(node.reads),
    "builtin.split": lambda node: tuple(node.reads[0]),
    "builtin.slice": lambda node: node.reads[0][node.get("index")],
}

"""Weights in 16 bits: rounded once, so that a program that keeps them in half the bytes computes the very same in 32 bits."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import nn

SMALL = 1024  # values; what has fewer is left as it is: biases matter more than they weigh


def round_to_half(network: nn.Layer) -> None:
    """Round the larger parameters of `network`, in place, to what 16-bit floats can hold."""
    for parameter in network.parameters():
        array = parameter.numpy()
        if _is_large(array):
            parameter.set_value(array.astype(np.float16).astype(np.float32))


def keep_in_half(source: Path, target: Path) -> None:
    """Copy the ONNX file `source` with its larger constants in 16 bits, each cast to 32 before its use."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    casts = []
    for name, constant in _constants(model):
        array = numpy_helper.to_array(constant)
        if constant.data_type == TensorProto.FLOAT and _is_large(array):
            kept = numpy_helper.from_array(array.astype(np.float16), f"{name}.half")
            model.graph.initializer.append(kept)
            casts.append(helper.make_node("Cast", [kept.name], [name], to=TensorProto.FLOAT))
    replaced = {name for cast in casts for name in cast.output}
    nodes = [node for node in model.graph.node if not (node.op_type == "Constant" and node.output[0] in replaced)]
    constants = [constant for constant in model.graph.initializer if constant.name not in replaced]
    for field, values in ((model.graph.node, [*casts, *nodes]), (model.graph.initializer, constants)):
        del field[:]
        field.extend(values)
    onnx.save(model, str(target))


def _constants(model: Any) -> list[tuple[str, Any]]:
    """The name and the tensor of every constant: initialisers, and nodes that hold one."""
    found = [(constant.name, constant) for constant in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant":
            found += [(node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value"]
    return found


def _is_large(array: NDArray[np.generic]) -> bool:
    return array.dtype == np.float32 and array.size >= SMALL

"""Builds OpenVINO's graph of a program that PaddlePaddle wrote since version 3, which OpenVINO itself can't read.

The operators are those that PP-ShiTu's, PP-LCNet's and their like's networks consist of; another one is named. Their meaning is
that of Paddle's operator documentation, at inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.engines.pir_operators import OPERATORS, Node, UnknownOperatorError
from models.errors import EngineError
from models.pdmodel.parameters import parameter_values
from models.pdmodel.pir import FEEDS, PirOperator, parse_pir

if TYPE_CHECKING:
    from models.pdmodel.program_desc import Operator, ProgramDesc


def pir_network(openvino: Any, model: bytes, parameters: bytes) -> Any:
    """The `openvino.Model` of an `inference.json` and its `inference.pdiparams`. Raises ArtifactError, EngineError: program_corrupt."""
    program = parse_pir(model)
    kept = _leading_to(program)
    named = {
        variable.name: array for variable, array in zip(program.parameters(), parameter_values(parameters), strict=True)
    }
    from openvino import opset13

    values: dict[str, Any] = {
        number: opset13.constant(named[variable.name])
        for number, variable in program.variables.items()
        if variable.persistable
    }
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for op in kept:
        if op.type in FEEDS:
            (made,) = op.outputs["Out"]
            shape = [-1 if size is None else size for size in program.variables[made].shape or ()]
            values[made] = inputs[_text(op, "name")] = opset13.parameter(shape, np.float32, name=_text(op, "name"))
        elif op.type == "fetch":
            # An output of its own, so that a value that is answered twice has both names.
            outputs[op.outputs["Out"][0]] = opset13.convert(values[op.inputs["X"][0]], "f32")
        else:
            values.update(_built(op, values, opset13))
    for name, node in (*inputs.items(), *outputs.items()):
        node.output(0).get_tensor().set_names({name})
    given = [inputs[spec.name] for spec in program.inputs if spec.name in inputs]
    return openvino.Model([outputs[spec.name] for spec in program.outputs], given, "program")


def _built(op: Operator, values: dict[str, Any], ops: Any) -> dict[str, Any]:
    if not isinstance(op, PirOperator) or (make := OPERATORS.get(op.type)) is None:
        raise EngineError(
            f"The program has the operator {op.type!r}, which is not known here; run it with the engine paddle, or convert it "
            "to ONNX with Paddle2ONNX.",
            "program_corrupt",
        )
    reads = [values.get(name) for name in op.inputs["X"]]
    try:
        made = make(Node(ops, op.attributes, reads))
    except UnknownOperatorError as error:
        raise EngineError(
            f"The program's operator {op.type!r} can't be converted: {error}", "program_corrupt"
        ) from error
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        raise EngineError(f"The program's operator {op.type!r} can't be converted.", "program_corrupt") from error
    # A list that a builtin operator takes apart is one value.
    several = made if isinstance(made, tuple) else (made,)
    return dict(zip(op.outputs["Out"], several, strict=False))


def _leading_to(program: ProgramDesc) -> list[Operator]:
    """The operators that lead to the program's outputs."""
    needed: set[str] = set()
    kept: list[Operator] = []
    for op in reversed(program.operators):
        if op.type == "fetch" or op.makes() & needed:
            needed |= op.reads()
            kept.append(op)
    return kept[::-1]


def _text(op: Operator, name: str) -> str:
    return str(op.attributes[name]) if isinstance(op, PirOperator) else ""

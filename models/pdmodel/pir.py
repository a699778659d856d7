"""Reads and cuts the programs that PaddlePaddle writes since version 3 (`inference.json`) without PaddlePaddle.

Such a file is PIR as JSON: regions of blocks of operators, values by number. These keys are read:

    operator  "#" kind ("p": a parameter; "0.x" builtin, "1.x" pd_op, "2.x" control flow)  "A" attributes  "I" inputs
              "O" outputs ("%" number, "TT" type)  "regions"
    type      "0.t_dtensor": element type, sizes, layout, ...      "0.t_vec": types
    attribute "N" name  "AT" value ("D")

A value is named by its number, as "%12", and what a program answers by its fetch's name. What comes of it is a ProgramDesc as
of a `.pdmodel`, so that whoever asks of a program asks in one way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from models.errors import ArtifactError
from models.pdmodel.program_desc import Operator, ProgramDesc, TensorSpec, Variable

TYPE = "0.t_dtensor"
FEEDS = ("data", "feed")
NEWER = 16  # a version of the form beyond what could be known here; 4 is PaddlePaddle 3.3's


@dataclass(frozen=True)
class PirOperator(Operator):
    """`attributes` are plain numbers, texts and lists; an operator's inputs are its slot "X", its outputs "Out"."""

    attributes: dict[str, Any] = field(default_factory=dict)


def parse_pir(data: bytes) -> ProgramDesc:
    """The first block of a program. Raises ArtifactError if it is none."""
    try:
        table = json.loads(data)
        base = table["base_code"]
        if base["magic"] != "pir" or not 0 < int(base["version"]) < NEWER:
            raise ArtifactError(f"The program's form is {base['magic']!r} {base['version']}, which is not known here.")
        return _program(table["program"]["regions"][0]["blocks"][0]["ops"])
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError("The program is none of PaddlePaddle's.") from error


def cut_pir(data: bytes, outputs: list[str]) -> bytes:
    """The program ended at the values `outputs`, each fetched by its own name. All parameters stay, as a `.pdiparams` needs.

    Raises ArtifactError for a value that the program doesn't make, or makes by control flow.
    """
    program = parse_pir(data)
    table = json.loads(data)
    block = table["program"]["regions"][0]["blocks"][0]
    made = {name for op in program.operators for name in op.outputs["Out"] if op.type != "fetch"}
    if missing := sorted(set(outputs) - made):
        raise ArtifactError(f"The program makes no variable {missing[0]!r}.")
    needed, kept = set(outputs), []
    for op, raw in zip(
        reversed(program.operators), reversed([op for op in block["ops"] if op["#"] != "p"]), strict=True
    ):
        if op.type != "fetch" and op.makes() & needed:
            if op.has_block:
                raise ArtifactError("The program can't be cut there: control flow leads to it.")
            needed |= op.reads()
            kept.append(raw)
    last = max((_number(name) for name in made), default=0)
    types = {f"%{out['%']}": out["TT"] for raw in kept for out in raw["O"]}
    fetches = [
        {
            "#": "1.fetch",
            "A": [_attribute("name", "0.a_str", name), _attribute("col", "0.a_i32", column)],
            "I": [{"%": _number(name)}],
            "O": [{"%": last + 1 + column, "TT": types[name]}],
            "OA": [],
        }
        for column, name in enumerate(outputs)
    ]
    block["ops"] = [*(op for op in block["ops"] if op["#"] == "p"), *reversed(kept), *fetches]
    return json.dumps(table).encode()


def _program(raws: list[dict[str, Any]]) -> ProgramDesc:
    variables: dict[str, Variable] = {}
    operators: list[Operator] = []
    inputs: list[tuple[int, TensorSpec]] = []
    outputs: list[tuple[int, TensorSpec]] = []
    for raw in raws:
        if raw["#"] == "p":
            name, number = str(raw["A"][-1]), f"%{raw['O']['%']}"
            variables[number] = Variable(name, _shape(raw["O"]["TT"]), persistable=True, raw=b"")
            continue
        op = _operator(raw)
        for made in raw["O"]:
            variables[f"%{made['%']}"] = Variable(f"%{made['%']}", _shape(made["TT"]), persistable=False, raw=b"")
        operators.append(op)
        if op.type in FEEDS:
            shape = variables[op.outputs["Out"][0]].shape or ()
            inputs.append((int(op.attributes.get("col", len(inputs))), TensorSpec(str(op.attributes["name"]), shape)))
        elif op.type == "fetch":
            shape = _shape(raw["O"][0]["TT"]) or ()
            outputs.append((int(op.attributes.get("col", 0)), TensorSpec(op.outputs["Out"][0], shape)))
    if not inputs or not outputs:
        raise ArtifactError("The program has no input or no output.")
    by_column = [tuple(spec for _, spec in sorted(ports, key=lambda port: port[0])) for ports in (inputs, outputs)]
    return ProgramDesc(variables, tuple(operators), by_column[0], by_column[1], ())


def _operator(raw: dict[str, Any]) -> PirOperator:
    dialect, _, kind = raw["#"].partition(".")
    attributes = {one["N"]: _value(one["AT"]) for one in raw["A"]}
    integers = {
        name: [int(one) for one in (value if isinstance(value, list) else [value])]
        for name, value in attributes.items()
        if _whole(value)
    }
    reads = [f"%{one['%']}" for one in raw["I"]]
    makes = [str(attributes["name"])] if kind == "fetch" else [f"%{one['%']}" for one in raw["O"]]
    name = f"builtin.{kind}" if dialect == "0" else kind
    return PirOperator(name, {"X": reads}, {"Out": makes}, integers, bool(raw.get("regions")), b"", attributes)


def _value(attribute: Any) -> Any:
    """The value of an attribute, of a list those of its members."""
    value = attribute.get("D")
    return [_value(one) if isinstance(one, dict) else one for one in value] if isinstance(value, list) else value


def _whole(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_whole(one) for one in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _shape(kind: dict[str, Any]) -> tuple[int | None, ...] | None:
    """None for what is no single tensor."""
    if kind.get("#") != TYPE:
        return None
    return tuple(None if size < 0 else int(size) for size in kind["D"][1])


def _number(name: str) -> int:
    return int(name.removeprefix("%"))


def _attribute(name: str, kind: str, value: Any) -> dict[str, Any]:
    return {"N": name, "AT": {"#": kind, "D": value}}

"""Where a program splits a value into parts of given sizes, whichever form the program has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.pdmodel.pir import PirOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.pdmodel.program_desc import Operator, ProgramDesc


@dataclass(frozen=True)
class Split:
    """`parts` are the variables of `sections` each, along `axis`."""

    axis: int
    sections: list[int]
    parts: list[str]


def splits(program: ProgramDesc) -> Iterator[Split]:
    """All of them, in the program's order; one whose sizes are computed is none."""
    for op in program.operators:
        if op.type != "split":
            continue
        if (axis := op.integers.get("axis")) and (sections := op.integers.get("sections")):
            yield Split(axis[0], sections, op.outputs["Out"])
            continue
        _, sizes, along = (*op.inputs["X"], "", "")[
            :3
        ]  # PIR: the sizes and the axis are values, the parts a list of such
        (axis_of, sections_of) = _constant(program, along), _constant(program, sizes)
        if axis_of and sections_of:
            yield Split(axis_of[0], sections_of, _parts(program, op.outputs["Out"][0], len(sections_of)))


def _constant(program: ProgramDesc, name: str) -> list[int]:
    op = next((op for op in program.operators if name in op.makes()), None)
    if op is None or op.type not in {"full", "full_int_array"}:
        return []
    value = op.attributes["value"] if isinstance(op, PirOperator) else []
    return [int(one) for one in (value if isinstance(value, list) else [value])]


def _parts(program: ProgramDesc, several: str, count: int) -> list[str]:
    parts = [""] * count
    for op in program.operators:
        if several not in op.reads():
            continue
        if op.type == "builtin.split":
            return list(op.outputs["Out"])
        if op.type == "builtin.slice":
            parts[_index(op)] = op.outputs["Out"][0]
    return parts


def _index(op: Operator) -> int:
    return op.integers["index"][0]

"""Reads and cuts PaddlePaddle's old program files (`.pdmodel`) without PaddlePaddle.

Such a file is one protobuf message, ProgramDesc (Paddle's framework.proto). These fields are read:

    ProgramDesc  1 blocks              BlockDesc  1 idx  2 parent  3 vars  4 ops
    VarDesc      1 name  2 type  3 persistable         VarType  3 dense tensor: 1 tensor: 2 dims
    OpDesc       1 inputs  2 outputs (each: 1 slot  2 variables)  3 type  4 attributes: 1 name  2 kind  3 i  6 ints

Whatever stays in a cut program is copied byte for byte, so nothing that isn't understood here gets lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import ArtifactError
from models.pdmodel.wire import Message, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.pdmodel.wire import Field

KIND_INT, KIND_BLOCK = 0, 8  # AttrType


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. A dimension that the program leaves open is None."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Variable:
    """`shape` is None for what is no dense tensor; `raw` is the VarDesc."""

    name: str
    shape: tuple[int | None, ...] | None
    persistable: bool
    raw: bytes


@dataclass(frozen=True)
class Operator:
    """Variables by slot, and the attributes that are lists of whole numbers; `raw` is the OpDesc."""

    type: str
    inputs: dict[str, list[str]]
    outputs: dict[str, list[str]]
    integers: dict[str, list[int]]
    has_block: bool
    raw: bytes

    def reads(self) -> set[str]:
        """All variables that go in."""
        return {name for names in self.inputs.values() for name in names}

    def makes(self) -> set[str]:
        """All variables that come out."""
        return {name for names in self.outputs.values() for name in names}


@dataclass(frozen=True)
class ProgramDesc:
    """The first block of a program; further ones are the bodies of its control flow. `rest` is what isn't blocks."""

    variables: dict[str, Variable]
    operators: tuple[Operator, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rest: tuple[Field, ...]

    def parameter_shapes(self) -> list[tuple[int | None, ...]]:
        """The shapes of the parameters in the order in which a `.pdiparams` holds them."""
        return [variable.shape for variable in self.parameters() if variable.shape is not None]

    def parameters(self) -> list[Variable]:
        """Those that a `.pdiparams` holds, in its order: that of their names."""
        held = (variable for variable in self.variables.values() if variable.persistable)
        return sorted(held, key=lambda variable: variable.name)


def parse_program(model: bytes) -> ProgramDesc:
    """The program in the bytes of a `.pdmodel`. Raises ArtifactError."""
    try:
        whole = Message(model)
        block = whole.messages(1)[0]
        variables = {variable.name: variable for variable in map(_variable, block.messages(3))}
        operators = tuple(_operator(message) for message in block.messages(4))
        # The files list feeds from the last column to the first, and Paddle numbers inputs by column.
        fed = [(op.integers["col"][0], op.outputs["Out"][0]) for op in operators if op.type == "feed"]
        fetched = [(op.integers["col"][0], op.inputs["X"][0]) for op in operators if op.type == "fetch"]
        inputs = tuple(TensorSpec(name, variables[name].shape or ()) for _, name in sorted(fed))
        outputs = tuple(TensorSpec(name, variables[name].shape or ()) for _, name in sorted(fetched))
    except (LookupError, ValueError) as error:
        raise ArtifactError("The file holds no PaddlePaddle program.") from error
    if not inputs or not outputs:
        raise ArtifactError("The program has no input or no output.")
    return ProgramDesc(variables, operators, inputs, outputs, tuple(f for f in whole.fields if f[0] != 1))


def cut_program(program: ProgramDesc, outputs: Sequence[str]) -> bytes:
    """The program that ends at the variables `outputs`: only the operators, inputs and variables that lead there stay.

    A variable is taken as it is first made; a loop may list all that it reads as made again. All parameters stay
    declared, because a `.pdiparams` holds them in the order of their names, without the names. Raises ArtifactError for
    a variable that the program doesn't make, or makes by control flow.
    """
    first: dict[str, int] = {}
    for position, op in enumerate(program.operators):
        if op.type not in {"feed", "fetch"}:
            for name in op.makes():
                first.setdefault(name, position)
    if missing := sorted(set(outputs) - set(first)):
        raise ArtifactError(f"The program makes no variable {missing[0]!r}.")
    needed = set(outputs)
    kept: list[Operator] = []
    for op in reversed(program.operators[: max(first[name] for name in outputs) + 1]):
        if op.type not in {"feed", "fetch"} and op.makes() & needed:
            kept.append(op)
            needed |= op.reads() | op.makes()
    if any(op.has_block for op in kept):
        raise ArtifactError("The program can't be cut there: control flow leads to it.")
    inputs = [spec.name for spec in program.inputs if spec.name in needed]
    operators = [
        *(_port("feed", "feed", name, column) for column, name in enumerate(inputs)),
        *(op.raw for op in reversed(kept)),
        *(_port("fetch", name, "fetch", column) for column, name in enumerate(outputs)),
    ]
    variables = [known.raw for known in program.variables.values() if known.persistable or known.name in needed]
    block: list[Field] = [(1, 0), (2, -1), *((3, raw) for raw in variables), *((4, raw) for raw in operators)]
    return encode([(1, encode(block)), *program.rest])


def _variable(message: Message) -> Variable:
    shape = None
    for dense in message.messages(2)[0].messages(3):
        sizes = dense.messages(1)[0].integers(2)
        shape = tuple(None if size < 0 else size for size in sizes)
    return Variable(message.text(1), shape, bool(message.integer(3)), message.raw)


def _operator(message: Message) -> Operator:
    attributes = message.messages(4)
    integers = {
        attribute.text(1): attribute.integers(3 if attribute.integer(2) == KIND_INT else 6) for attribute in attributes
    }
    has_block = any(attribute.integer(2) == KIND_BLOCK for attribute in attributes)
    inputs, outputs = ({slot.text(1): slot.texts(2) for slot in message.messages(number)} for number in (1, 2))
    return Operator(message.text(3), inputs, outputs, integers, has_block, message.raw)


def _port(kind: str, source: str, target: str, column: int) -> bytes:
    """A feed or fetch operator."""

    def slot(name: str, variable: str) -> bytes:
        return encode([(1, name.encode()), (2, variable.encode())])

    attribute = encode([(1, b"col"), (2, KIND_INT), (3, column)])
    return encode([(1, slot("X", source)), (2, slot("Out", target)), (3, kind.encode()), (4, attribute)])

"""Checks a `.pdiparams` file before an engine gets it: Paddle runs a file that was cut short, with whatever it read of it.

For each parameter: u32 version, u64 count of sequence levels (0), u32 version, i32 length of a TensorDesc (1 data type,
2 dims), the values. The names are not there; parameters lie in the order of their sorted names.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from models.errors import EngineError
from models.pdmodel.wire import Message, WireError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEADER = struct.Struct("<IQIi")
WIDTHS = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}  # bytes of a value, by VarType's data types
LONGEST_DESC = 4096
READ = {0: np.bool_, 2: np.int32, 3: np.int64, 4: np.float16, 5: np.float32, 6: np.float64, 20: np.uint8, 21: np.int8}


def parameter_shapes(file: Path) -> list[tuple[int, ...]]:
    """The shapes of all parameters, by headers only. Raises EngineError (program_corrupt) if the file is not whole."""
    shapes = []
    size = file.stat().st_size
    with file.open("rb") as stream:
        while stream.tell() < size:
            try:
                version, levels, tensor_version, length = HEADER.unpack(stream.read(HEADER.size))
                if version or levels or tensor_version or not 0 < length <= LONGEST_DESC:
                    raise WireError("no header")
                desc = Message(stream.read(length))
                shape = tuple(desc.integers(2))
                end = stream.tell() + math.prod(shape) * WIDTHS[desc.integer(1)]
            except (struct.error, WireError, KeyError) as error:
                raise EngineError(f"{file.name} is damaged.", "program_corrupt") from error
            if end > size:
                raise EngineError(f"{file.name} ends too early.", "program_corrupt")
            shapes.append(shape)
            stream.seek(end)
    return shapes


def parameter_values(raw: bytes) -> list[NDArray[np.generic]]:
    """All parameters in the bytes of a file that `parameter_shapes` has passed. Raises EngineError for a type that numpy has not."""
    values: list[NDArray[np.generic]] = []
    at = 0
    while at < len(raw):
        *_, length = HEADER.unpack_from(raw, at)
        at += HEADER.size
        desc = Message(raw[at : at + length])
        at += length
        kind = READ.get(desc.integer(1))
        if kind is None:
            raise EngineError(
                f"A parameter has the type {desc.integer(1)}, which can't be read here.", "program_corrupt"
            )
        shape = tuple(desc.integers(2))
        value: NDArray[np.generic] = np.frombuffer(raw, kind, math.prod(shape), at).reshape(shape)
        at += value.nbytes
        values.append(value)
    return values

"""Reads official `.pdparams` weights into a network, and nothing else that a pickle may hold.

A `.pdparams` file is a pickled dict of parameter name -> array. Unpickling runs what the file names, so this reader
lets it name the rebuilding of plain NumPy arrays only.
"""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

# Paddle keeps its own variable names under this key, next to the parameters.
NAMES_KEY = "StructuredToParameterName@@"
MOST_LISTED = 3  # disagreements, one by one; the others are counted


class ParameterError(ValueError):
    """A weights file that is unreadable, unsafe, or of another network."""


def load_pdparams(network: nn.Layer, path: Path, ignore: Sequence[str] = ()) -> None:
    """Copy the weights in `path` into `network`; names must agree both ways, and all shapes.

    Names that begin with one of `ignore` are left alone on both sides: ("head.",) for an embedder's checkpoint, whose
    head is a matrix over its training set's classes. Raises ParameterError that lists the first disagreements and counts the others;
    `network` is then unchanged.
    """
    theirs = {name: array for name, array in read_pdparams(path).items() if not name.startswith(tuple(ignore))}
    ours = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(tuple(ignore))}
    problems = [f"missing {name}" for name in ours if name not in theirs]
    problems += [f"unexpected {name}" for name in theirs if name not in ours]
    problems += [
        f"{name} has shape {theirs[name].shape}, expected {tuple(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tuple(tensor.shape)
    ]
    if problems:
        more = f"; and {len(problems) - MOST_LISTED} more" if len(problems) > MOST_LISTED else ""
        raise ParameterError(
            f"{path.name} does not fit {type(network).__name__}: {'; '.join(problems[:MOST_LISTED])}{more}"
        )
    for name, tensor in ours.items():
        tensor.set_value(paddle.to_tensor(theirs[name].astype(np.float32)))


def read_pdparams(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of a `.pdparams` file by name. Raises ParameterError if it holds anything else."""
    try:
        content = ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
    except ParameterError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise ParameterError(f"{path.name} is not a readable weights file") from error
    if not isinstance(content, dict):
        raise ParameterError(f"{path.name} does not hold a dict of parameters")
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, value in content.items():
        if name == NAMES_KEY:
            continue
        # Paddle saves a parameter as its array, or as a pair of its variable's name and its array.
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if not isinstance(name, str) or not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise ParameterError(f"{path.name}: {name!r} is not an array of numbers")
        arrays[name] = array
    return arrays


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler that rebuilds arrays and containers; anything else that the file names is refused."""

    ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            ("collections", "OrderedDict"),
            ("builtins", "tuple"),
            ("__builtin__", "tuple"),
            # How protocol 2, of the older files, spells bytes.
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise ParameterError(f"the weights file refers to {module}.{name}, which is not part of any array")
        # NumPy 2 moved these; the old home only warns.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)

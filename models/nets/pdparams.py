"""Reads official `.pdparams` weights into a network, and nothing else that a pickle may hold.

A `.pdparams` file is a pickled dict of parameter name -> array. Unpickling runs what the file names, so this reader
lets it name the rebuilding of plain NumPy arrays only.
"""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

# Paddle keeps its own variable names under this key, next to the parameters.
NAMES_KEY = "StructuredToParameterName@@"
# What their trainer puts before every name: data parallel processes, and a distillation's networks, of which one is served.
WRAPPERS, SERVED, NOT_SERVED = ("_layers.", "module."), "Student.", "Teacher."


class ParameterError(ValueError):
    """A weights file that is unreadable, unsafe, or of another network."""


def load_pdparams(network: nn.Layer, path: Path, ignore: Sequence[str] = ()) -> None:
    """Copy the weights in `path` into `network`; names must agree both ways, and all shapes.

    Names that begin with one of `ignore` are left alone on both sides: ("head.",) for an embedder's checkpoint, whose
    head is a matrix over its training set's classes. Raises ParameterError that names every disagreement;
    `network` is then unchanged.
    """
    put_arrays(network, read_pdparams(path), path.name, ignore)


def put_arrays(
    network: nn.Layer, arrays: Mapping[str, NDArray[np.generic]], called: str, ignore: Sequence[str] = ()
) -> None:
    """The same for `arrays` by name, of a file that is `called` so."""
    theirs = {name: array for name, array in arrays.items() if not name.startswith(tuple(ignore))}
    ours = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(tuple(ignore))}
    problems = [f"missing {name}" for name in ours if name not in theirs]
    problems += [f"unexpected {name}" for name in theirs if name not in ours]
    problems += [
        f"{name} has shape {theirs[name].shape}, expected {tuple(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tuple(tensor.shape)
    ]
    if problems:
        raise ParameterError(f"{called} does not fit {type(network).__name__}: {'; '.join(problems)}")
    for name, tensor in ours.items():
        tensor.set_value(paddle.to_tensor(theirs[name].astype(np.float32)))


def read_pdparams(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of a `.pdparams` file by name, of a distillation's file the student's. Raises ParameterError if it holds anything else."""
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
    return _unwrapped(arrays)


def _unwrapped(arrays: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Without the prefixes that all names have."""
    for wrapper in WRAPPERS:
        if arrays and all(name.startswith(wrapper) for name in arrays):
            arrays = {name.removeprefix(wrapper): array for name, array in arrays.items()}
    if any(name.startswith(SERVED) for name in arrays) and all(
        name.startswith((SERVED, NOT_SERVED)) for name in arrays
    ):
        arrays = {name.removeprefix(SERVED): array for name, array in arrays.items() if name.startswith(SERVED)}
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

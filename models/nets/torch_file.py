"""Reads the arrays of a PyTorch weights file of the older format, without PyTorch and without running what it names.

Such a file is a row of pickles: a magic number, a version, the byte order, then a dict whose tensors are described as
(storage, offset, sizes, strides) with the storages named, then the names in order; after them each storage's raw bytes,
after the number of its elements as a 64-bit integer. (PyTorch's `serialization` module, before the ZIP format.)
"""

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.nets.pdparams import ParameterError

MAGIC = 0x1950A86A20F9469CFC6C
TYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
}


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: np.dtype[Any]
    size: int


@dataclass(frozen=True)
class _Described:
    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of the file by name, each a copy. Raises ParameterError if it is of another format or holds anything else."""
    try:
        return _read(path)
    except ParameterError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise ParameterError(f"{path.name} is not a readable weights file") from error


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    file = io.BytesIO(path.read_bytes())
    if _plain(file) != MAGIC:
        raise ParameterError(f"{path.name} is no PyTorch file of the older format")
    _plain(file)  # the format's version
    if not _plain(file).get("little_endian", True):
        raise ParameterError(f"{path.name} was written on a machine of another byte order")
    described = _TensorUnpickler(file).load()
    arrays: dict[str, NDArray[np.generic]] = {}
    storages: dict[str, NDArray[np.generic]] = {}
    kinds = {value.storage.key: value.storage for value in described.values() if isinstance(value, _Described)}
    for key in _plain(file):
        (count,) = np.frombuffer(file.read(8), "<i8")
        storage = kinds[key]
        if count != storage.size:
            raise ParameterError(f"{path.name}: a storage has another size than it says")
        storages[key] = np.frombuffer(file.read(int(count) * storage.kind.itemsize), storage.kind)
    for name, value in described.items():
        if not isinstance(name, str) or not isinstance(value, _Described):
            raise ParameterError(f"{path.name}: {name!r} is not a tensor")
        arrays[name] = _array(value, storages[value.storage.key])
    return arrays


def _array(value: _Described, storage: NDArray[np.generic]) -> NDArray[np.generic]:
    last = value.offset + sum((size - 1) * stride for size, stride in zip(value.sizes, value.strides, strict=True))
    if min((value.offset, *value.strides, *value.sizes), default=0) < 0 or last >= len(storage):
        raise ParameterError("a tensor reaches out of its storage")
    steps = [stride * storage.itemsize for stride in value.strides]
    return np.lib.stride_tricks.as_strided(storage[value.offset :], value.sizes, steps).copy()


def _plain(file: BinaryIO) -> Any:
    return _NothingNamed(file).load()


class _NothingNamed(pickle.Unpickler):
    """Numbers, text, lists and dicts."""

    def find_class(self, module: str, name: str) -> object:
        raise ParameterError(f"the weights file refers to {module}.{name}, which is not part of any tensor")


class _TensorUnpickler(pickle.Unpickler):
    """Takes the descriptions of tensors, and refuses all else that a pickle may name."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict  # whose state, the modules' versions, is set next to its entries
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _described
        if module == "torch" and name in TYPES:
            return name
        raise ParameterError(f"the weights file refers to {module}.{name}, which is not part of any tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        what, kind, key, _place, size, *view = pid
        if what != "storage" or any(part is not None for part in view):
            raise ParameterError("the weights file names a storage in an unknown way")
        return _Storage(str(key), TYPES[kind], int(size))


def _described(storage: _Storage, offset: int, sizes: Any, strides: Any, *_rest: Any) -> _Described:
    return _Described(storage, int(offset), tuple(map(int, sizes)), tuple(map(int, strides)))

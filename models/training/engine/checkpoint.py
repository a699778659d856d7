"""Checkpoints: the state of a training run in one `.npz`, written whole or not at all, without pickles."""

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.errors import ArtifactError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """`groups` of named arrays (network, optimiser, average ...) and the `progress` as JSON values."""

    groups: dict[str, Arrays]
    progress: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write next to `path`, sync, then rename over it: a killed run leaves the previous checkpoint."""
        flat = {f"{group}/{name}": array for group, arrays in self.groups.items() for name, array in arrays.items()}
        flat["progress"] = np.frombuffer(json.dumps(self.progress).encode(), np.uint8)
        temporary = path.with_suffix(".partial")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **flat)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read what `save` wrote. Raises ArtifactError if there is no such file, or it is damaged or something else."""
        groups: dict[str, Arrays] = {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                progress = json.loads(bytes(stored["progress"]))
                for key in stored.files:
                    group, _, name = key.partition("/")
                    if name:
                        groups.setdefault(group, {})[name] = stored[key]
        except FileNotFoundError as error:
            raise ArtifactError(f"there is no checkpoint {path}", "artifact_missing") from error
        except (OSError, ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ArtifactError(f"{path} is damaged, or no checkpoint") from error
        return cls(groups, progress)


def fill(network: nn.Layer, path: Path, group: str) -> Checkpoint:
    """Put the weights that `path` holds as `group` into `network`; returns the checkpoint.

    Raises ArtifactError where it holds none, or another network's.
    """
    stored = Checkpoint.load(path)
    arrays, own = stored.groups.get(group, {}), network.state_dict()
    if not arrays:
        raise ArtifactError(f"{path} holds no {group}")
    odd = sorted(set(arrays) ^ set(own)) or [name for name in own if list(own[name].shape) != list(arrays[name].shape)]
    if odd:
        raise ArtifactError(f"{path} holds another network than the recipe's; they differ in {odd[0]!r}")
    network.set_state_dict(to_tensors(arrays))
    return stored


def to_arrays(state: dict[str, Any]) -> Arrays:
    """A Paddle state dict's tensors as arrays; entries that are not tensors (a schedule's own state) are left out."""
    return {name: value.numpy() for name, value in state.items() if isinstance(value, paddle.Tensor)}


def to_tensors(arrays: Arrays) -> dict[str, paddle.Tensor]:
    """The other way round, ready for `set_state_dict`."""
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}

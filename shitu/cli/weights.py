"""`.pdparams` weights where a command takes a model: they are exported at their first use, and kept next to the pulled models."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.artifacts.folders import MANIFEST, default_cache_dir, resolve
from models.artifacts.official import sha256_of
from models.errors import ArtifactError
from shitu.cli.progress import working

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".pdparams"
NEEDED = "is needed to read .pdparams weights: pip install 'shitu[train]'"


def model_folder(model: str, task: str, network: str | None = None) -> Path:
    """The folder of a model by name, folder, or weights of a network to do `task` (embed, detect, classify). Raises ModelError.

    `network` names a classifier that the weights must be of; otherwise it is read from them.
    """
    if Path(model).suffix != SUFFIX:
        return resolve(model)
    weights = Path(model)
    if not weights.is_file():
        raise ArtifactError(f"There is no weights file {model!r}.", "artifact_missing")
    folder = default_cache_dir() / "weights" / sha256_of(weights) / (network or task)
    if (folder / MANIFEST).is_file():
        return folder
    with working("Exporting the weights"), stdout_to_stderr(), paddle_needed():
        from models.export.official_weights import artifact_of_weights

        return artifact_of_weights(weights, task, folder, network)


@contextmanager
def paddle_needed() -> Iterator[None]:
    """Says what to install where PaddlePaddle, or what exports, is not there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle misses a compiler cache that nothing here would use
        try:
            yield
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            if package not in {"paddle", "paddle2onnx"}:
                raise
            name = {"paddle": "PaddlePaddle"}.get(package, package)
            raise click.ClickException(f"{name} {NEEDED}") from error


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What the exporters print, from C++ too, stays out of the answer."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)

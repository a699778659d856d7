"""Which model a configuration or a model's name means, and whether its preparation of pictures is the one that was configured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.artifacts.download import OFFICIAL, pull
from models.artifacts.folders import default_cache_dir, pulled, resolve
from models.errors import ArtifactError
from shitu.paddleclas.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.artifacts.manifest import ImageInput, Manifest

SHITU = {"PP-ShiTuV2": ("ppshitu-mainbody-detector", "ppshitu-v2-embedder"), "PP-ShiTuV1": ("ppshitu-mainbody-detector", "ppshitu-v1-embedder"), "shitu": ("shitu-detector", "shitu-embedder")}  # fmt: skip
# by the last part of the archive's address: the folder's name in their configurations
ARCHIVES = {Path(model.url).name.removesuffix(".tar"): name for name, model in OFFICIAL.items()}
CLOSE = 1e-3  # means and deviations are written with a few digits


def folder_of(named: str, key: str) -> Path:
    """The model that `key` names: a folder, a model's name, or the name of an official archive that is here already.

    Raises ConfigError that says what to do where it is not here.
    """
    if Path(named).is_dir():
        return Path(named)
    official = ARCHIVES.get(Path(named).name, named)
    try:
        return resolve(official)
    except ArtifactError as error:
        if error.code != "artifact_missing":
            raise
    remedy = (
        f"`shitu models pull {official}` fetches it"
        if official in OFFICIAL
        else f"take another by -o {key}=NAME, such as {'shitu-detector' if 'det' in key else 'shitu-embedder'}"
    )
    raise ConfigError(f"{key}: there is no model folder {named!r}; {remedy}.")


def official(name: str) -> Path:
    """The folder of a model by its name, fetched now where it is not here, as `paddleclas` does. Raises ArtifactError."""
    if name in OFFICIAL:
        return pulled(name, default_cache_dir()) or pull(name, default_cache_dir())
    return resolve(name)


def require_input(manifest: Manifest, operations: Any, key: str) -> None:
    """Raises ConfigError where `operations` (`transform_ops`) prepare pictures otherwise than an official archive's manifest.

    A model of our own says in its manifest what it takes; what the configuration says of another model is not about it.
    """
    if not manifest.official or not isinstance(operations, list):
        return
    wrong = []
    for operation in operations:
        if not isinstance(operation, dict) or len(operation) != 1:
            raise ConfigError(f"{key}: every operation must be a name with its values.")
        name, values = next(iter(operation.items()))
        wrong += [f"{name}: {report}" for report in _faults(name, values or {}, manifest.input)]
    if wrong:
        raise ConfigError(f"{key}: not done here: " + "; ".join(wrong))


def require_as_model(manifest: Manifest, operation: str, size: int, key: str) -> None:
    """Raises ConfigError where `size`, set by the argument `key`, is not the one that the model was made for."""
    name = "resize_short" if operation == "ResizeImage" else "size"
    if wrong := _faults(operation, {name: size}, manifest.input):
        raise ConfigError(f"{key}: not done here: {'; '.join(wrong)}.")


def _faults(name: str, values: Mapping[str, Any], spec: ImageInput) -> list[str]:
    report = []
    if name == "ResizeImage":
        if (size := values.get("size")) is not None:
            width, height = (size, size) if isinstance(size, int) else size
            if (height, width) != (spec.height, spec.width):
                report.append(f"size {size}, where {spec.width} x {spec.height} is used")
        if (short := values.get("resize_short")) is not None and short != spec.resize_short:
            report.append(f"resize_short {short}, where {spec.resize_short or 'none'} is used")
    elif name == "CropImage":
        size = values.get("size")
        sides = (size, size) if isinstance(size, int) else tuple(size or ())
        if not spec.resize_short or sides != (spec.width, spec.height):
            report.append(f"size {size}, where {'no middle' if not spec.resize_short else spec.width} is cut out")
    elif name == "NormalizeImage":
        for one, used in (("mean", spec.mean), ("std", spec.std)):
            if (given := values.get(one)) is not None and any(
                abs(a - b) > CLOSE for a, b in zip(given, used, strict=True)
            ):
                report.append(f"{one} {given}, where {list(used)} is used")
    elif name not in {"ToCHWImage", "DetResize", "DetNormalizeImage", "DetPermute"}:
        report.append("no such operation")
    return report

"""Training weights (`.pdparams`) as an artifact: the network that they are of, exported; and once for all by their digest."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.folders import MANIFEST
from models.artifacts.manifest import ImageInput
from models.artifacts.official import centred, sha256_of
from models.errors import ArtifactError
from models.export.classifier import WithSoftmax
from models.export.network import DEFAULT_FORMATS, Kind, Origin, classifies, detects, embeds, export_network
from models.nets.from_weights import Recognised, read_network
from models.nets.named import build
from models.nets.names import STRIDES, require_known
from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams
from models.nets.picodet import ServedPicoDet
from models.training.engine.inputs import square_input

# What PaddleClas and PaddleDetection train and serve these networks at.
SIZES_PX = {"embed": 224, "classify": 224, "detect": 640}
COMMANDS = {"embed": "embedder", "classify": "classifier", "detect": "detector"}
THRESHOLDS = {
    "embed": {"similarity": 0.5},
    "classify": {},
    "detect": {"detection": 0.2},
}  # PP-ShiTu's configurations have these
DETECTOR_MULTIPLE = 32  # its strides' grids must fit on each other
Images = Sequence[NDArray[np.uint8]]


def export_weights(
    weights: Path,
    task: str,
    folder: Path,
    *,
    network: str | None = None,
    size_px: int | None = None,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Images | None = None,
) -> Path:
    """Write the network of `weights` as an artifact to do `task` (of SIZES_PX); by default it takes pictures as they are trained there.

    Which network it is, is read from the weights; `network` names a classifier that they must be of. Raises
    UnknownNetworkError, and ArtifactError for weights that are unreadable, of no network known here, or of another task.
    """
    if network is not None:
        require_known(network)
    if not weights.is_file():
        raise ArtifactError(f"There is no weights file {str(weights)!r}.", "artifact_missing")
    size = size_px or SIZES_PX[task]
    if task == "detect" and size % DETECTOR_MULTIPLE:
        raise ArtifactError(f"A detector's size is a multiple of {DETECTOR_MULTIPLE}, not {size}.")
    found = _read(weights, network)
    if found.task != task:
        raise ArtifactError(
            f"{weights.name} holds {found.name}, made to {found.task}, not to {task}: "
            f"`shitu {found.task}` and `shitu export {COMMANDS[found.task]}` take it."
        )
    served, kind, given = _served(found, size)
    origin = Origin(
        [], {}, THRESHOLDS[task], name=weights.stem, network=found.name, recipe={"weights": sha256_of(weights)}
    )
    return export_network(served, kind, given, folder, origin, formats, pictures, batched=task != "detect")


def artifact_of_weights(weights: Path, task: str, folder: Path, network: str | None = None) -> Path:
    """`folder` as an artifact of `weights`; made whole or not at all, at the first call. Raises as `export_weights`."""
    if (folder / MANIFEST).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        made = export_weights(weights, task, Path(work, folder.name), network=network)
        try:
            made.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():  # else another process was first
                raise
    return folder


def _read(weights: Path, network: str | None) -> Recognised:
    try:
        if network is None:
            return read_network(weights)
        last = read_pdparams(weights).get("fc.weight")
        if last is None or last.ndim != 2:
            raise ArtifactError(f"{weights.name} holds no classifier: it has no fc.weight.")
        made = build(network, int(last.shape[1]))
        load_pdparams(made, weights)
    except ParameterError as error:
        detail = str(error)
        raise ArtifactError(detail if weights.name in detail else f"{weights.name}: {detail}") from error
    made.eval()
    return Recognised("classify", network, made, int(last.shape[1]))


def _served(found: Recognised, size_px: int) -> tuple[nn.Layer, Kind, ImageInput]:
    """What is exported, what it answers, and what it takes."""
    if found.task == "detect":
        return ServedPicoDet(found.network), detects(STRIDES, found.size), square_input("image", size_px, "cubic")
    given = square_input("x", size_px)
    if found.task == "classify":
        return WithSoftmax(found.network), classifies(()), centred(given)
    return found.network, embeds(found.size), given

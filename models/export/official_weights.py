"""Official training weights (`.pdparams`) as an artifact: the named network, exported once and kept by the weights' digest."""

import shutil
import tempfile
from pathlib import Path

from models.artifacts.folders import MANIFEST
from models.artifacts.official import sha256_of
from models.errors import ArtifactError
from models.export.classifier import export_classifier_network
from models.export.network import Origin
from models.nets.named import build
from models.nets.names import require_known
from models.nets.pdparams import ParameterError, load_pdparams, read_pdparams

SIZE_PX = 224  # PaddleClas trains and serves its ImageNet classifiers so


def artifact_of_weights(weights: Path, network: str, cache_dir: Path) -> Path:
    """The folder of a classifier artifact made from `weights` of the named network; made at the first call.

    How many classes there are is read from the weights. Raises UnknownNetworkError, and ArtifactError for weights that are
    unreadable or another network's.
    """
    require_known(network)
    if not weights.is_file():
        raise ArtifactError(f"There is no weights file {str(weights)!r}.", "artifact_missing")
    folder = cache_dir / "weights" / sha256_of(weights) / network
    if (folder / MANIFEST).is_file():
        return folder
    try:
        last = read_pdparams(weights).get("fc.weight")
        if last is None or last.ndim != 2:
            raise ArtifactError(f"{weights.name} holds no classifier: it has no fc.weight.")
        made = build(network, int(last.shape[1]))
        load_pdparams(made, weights)
    except ParameterError as error:
        raise ArtifactError(str(error)) from error
    made.eval()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        origin = Origin(data=[], metrics={}, thresholds={}, name=weights.stem, network=network)
        part = export_classifier_network(made, (), SIZE_PX, Path(work, network), origin)
        if not folder.exists():
            shutil.move(part, folder)
    return folder

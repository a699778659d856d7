"""What was measured of an exported artifact, in its manifest; needs no PaddlePaddle."""

import json
from collections.abc import Mapping
from pathlib import Path

from models.artifacts.folders import MANIFEST, write_manifest
from models.export.precisions import cautions


def add_findings(
    folder: Path,
    metrics: Mapping[str, float],
    thresholds: Mapping[str, float],
    precisions: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Write what was measured of an exported program into its manifest: in fp32, and in its other `precisions`.

    The metrics of the latter come with what they lose, the fp32 metric less theirs, and a warning where that is much.
    """
    table = json.loads((folder / MANIFEST).read_bytes())
    kept = {key: value for key, value in table.items() if key not in ("schema", "files")}
    about = dict(kept.get("precisions", {}))
    for precision, measured in (precisions or {}).items():
        if not measured:
            continue
        lost = {name: round(metrics[name] - value, 4) for name, value in measured.items() if name in metrics}
        about[precision] = {**about[precision], "metrics": dict(measured), "lost": lost}
        about[precision]["warnings"] = cautions(precision, about[precision])
    write_manifest(folder, **{**kept, "metrics": metrics, "thresholds": thresholds, "precisions": about})

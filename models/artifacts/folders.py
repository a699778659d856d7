"""Model folders: their manifests, their checksums, and how a name finds its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.artifacts.credits import credits_of
from models.artifacts.manifest import (
    SCHEMA,
    SHA256,
    UNKNOWNS,
    DetectionOutput,
    EmbeddingOutput,
    Head,
    ImageInput,
    Manifest,
    ManifestError,
    parse_manifest,
)
from models.artifacts.official import is_official, official_manifest, sha256_of
from models.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DetectionOutput", "EmbeddingOutput", "Head", "ImageInput", "Manifest",
    "bundled", "default_cache_dir", "load_manifest", "pulled", "resolve", "verify", "write_manifest",
]  # fmt: skip

MANIFEST, CHECKSUMS = "manifest.json", "SHA256SUMS"
BUNDLED = Path(__file__).parents[1] / "bundled"


def load_manifest(folder: Path | str) -> Manifest:
    """The manifest of a model folder; an official archive's is made from what the archive holds.

    Raises ArtifactError: artifact_missing, artifact_incomplete, artifact_invalid.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtifactError(f"There is no model folder {str(folder)!r}.", "artifact_missing")
    file = folder / MANIFEST
    if file.is_file():
        try:
            table = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{MANIFEST} is no JSON.") from error
        try:
            return parse_manifest(table)
        except ManifestError as error:
            raise ManifestError.of(error.faults, f"{file.parent.name}/{MANIFEST}") from None
    if is_official(folder):
        return official_manifest(folder)
    detail = (
        f"The folder {str(folder)!r} is no model: neither {MANIFEST} nor inference.pdmodel or inference.json is in it."
    )
    raise ArtifactError(detail, "artifact_incomplete")


def write_manifest(
    folder: Path,
    *,
    name: str,
    task: str,
    network: str,
    input: Mapping[str, Any],  # noqa: A002 - the manifest's own key
    output: Mapping[str, Any],
    thresholds: Mapping[str, float],
    recipe: Mapping[str, Any],
    data: Sequence[str],
    metrics: Mapping[str, Any],
    licence: str,
    precisions: Mapping[str, Mapping[str, Any]] | None = None,
    calibration: Mapping[str, Any] | None = None,
    credits: Sequence[Mapping[str, str]] = (),  # noqa: A002 - the same
) -> Manifest:
    """Describes the programs (`inference*`) of `folder` in its manifest, with their checksums. Raises ArtifactError.

    `credits` are those that are given and what `data` and `recipe` name. UNKNOWNS is listed too where it lies next to them.
    """
    files = {file.name: sha256_of(file) for file in sorted(folder.glob("inference*"))}
    if not files:
        raise ArtifactError(f"The folder {str(folder)!r} holds no program.", "artifact_incomplete")
    if (folder / UNKNOWNS).is_file():
        files[UNKNOWNS] = sha256_of(folder / UNKNOWNS)
    table = {
        "schema": SCHEMA, "name": name, "task": task, "network": network, "input": dict(input), "output": dict(output),
        "thresholds": dict(thresholds), "files": files, "recipe": dict(recipe), "data": list(data),
        "metrics": dict(metrics), "licence": licence, "precisions": dict(precisions or {}),
        "calibration": dict(calibration or {}),
        "credits": list({one["source"]: one for one in (*credits, *credits_of(data, recipe))}.values()),
    }  # fmt: skip
    manifest = parse_manifest(table)
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps(manifest.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(folder / MANIFEST)
    return manifest


def verify(folder: Path | str) -> tuple[str, ...]:
    """Checks every file against its recorded SHA-256 and returns their names; an official folder's are recorded at its pull.

    Raises ArtifactError: artifact_incomplete, artifact_changed, artifact_missing, artifact_invalid.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    if manifest.official and not (folder / CHECKSUMS).is_file():
        detail = f"{folder.name}: no checksums were recorded for this archive; `shitu models pull` records them."
        raise ArtifactError(detail, "artifact_incomplete")
    recorded = _checksums(folder) if manifest.official else dict(manifest.files)
    for name, expected in recorded.items():
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder.name}: the file {name} is missing.", "artifact_incomplete")
        if sha256_of(folder / name) != expected:
            raise ArtifactError(f"{folder.name}: the file {name} is not the one that was recorded.", "artifact_changed")
    return tuple(recorded)


def resolve(name_or_folder: str | Path, cache_dir: Path | None = None) -> Path:
    """The folder of a bundled model, of a pulled one, or the folder itself. Raises ArtifactError: artifact_missing.

    `cache_dir` is where models are pulled to, by default the user's.
    """
    name = str(name_or_folder)
    found = bundled().get(name) or pulled(name, cache_dir or default_cache_dir())
    if found is not None:
        return found
    folder = Path(name_or_folder)
    if name and folder.is_dir():
        return folder
    if folder.suffix == ".pdparams" and folder.is_file():
        detail = f"{folder.name} holds training weights; `shitu export embedder` (or detector, classifier) makes a model of them."
        raise ArtifactError(detail, "artifact_missing")
    detail = f"There is no model {name!r}: it is not bundled, not pulled (`shitu models pull`), and no folder."
    raise ArtifactError(detail, "artifact_missing")


def bundled() -> dict[str, Path]:
    """The models that ship, by name."""
    return {file.parent.name: file.parent for file in sorted(BUNDLED.glob(f"*/{MANIFEST}"))}


def pulled(name: str, cache_dir: Path) -> Path | None:
    """The folder of a pulled model, or None."""
    receipt = read_receipt(name, cache_dir)
    if receipt is None:
        return None
    folder = cache_dir / receipt["sha256"] / name
    return folder if folder.is_dir() else None


def read_receipt(name: str, cache_dir: Path) -> dict[str, str] | None:
    """What was recorded when `name` was pulled first: its address and its archive's SHA-256, which names its folder.

    Raises ArtifactError for a receipt that can't be read: to forget it would be to trust whatever comes next.
    """
    if not name or name != Path(name).name or name in {".", ".."}:
        return None
    file = cache_dir / f"{name}.json"
    if not file.is_file():
        return None
    try:
        receipt = json.loads(file.read_bytes())
        if isinstance(receipt, dict) and isinstance(receipt["url"], str) and SHA256.fullmatch(receipt["sha256"]):
            return {"url": receipt["url"], "sha256": receipt["sha256"]}
    except (ValueError, LookupError, TypeError):
        pass
    raise ArtifactError(f"The record of the pulled model {name!r} is damaged; delete {str(file)!r} and pull again.")


def default_cache_dir() -> Path:
    """Where pulled models are kept: `shitu` in the user's cache folder, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "shitu" / "models"


def _checksums(folder: Path) -> dict[str, str]:
    recorded = {}
    for line in (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines():
        sha256, _, name = line.partition("  ")
        if not SHA256.fullmatch(sha256) or name != Path(name).name:
            raise ArtifactError(f"{folder.name}: {CHECKSUMS} is damaged.")
        recorded[name] = sha256
    return recorded

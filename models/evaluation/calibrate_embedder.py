"""Gives an exported embedder its calibration: how sure its answers are, in galleries without their own fit."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import MANIFEST, write_manifest
from models.artifacts.manifest import UNKNOWNS
from models.embedder import Embedder
from models.enrolment import embed_views
from models.evaluation.fit_calibration import LabelledRows, Rows, fit_embedder
from models.evaluation.fit_verified import fit_verified
from models.evaluation.open_set_rates import answer_openly, open_set_metrics, own_calibration
from models.evaluation.retrieval import Progress, embed_photos
from models.galleries.calibration import Calibration
from models.recognition.second_look import Verifies
from models.training.data.photos import DatasetError, Photo, read_rgb

MOST_UNKNOWNS = 1400  # 512 dimensions of two bytes each: 1.4 MB
MOST_VERIFIED = 400  # photos of a set whose local features are looked at


@dataclass(frozen=True)
class PhotoSet:
    """Labelled photos of an evaluation. The first `gallery` are what is searched; with 0, each photo queries all others.

    The labels should be ones that the embedder was never trained on, or its answers look surer than they are.
    """

    name: str
    photos: Sequence[Photo]
    gallery: int = 0


def calibrate_embedder(
    artifact: Path,
    sets: Sequence[PhotoSet],
    unknown: Sequence[Path],
    progress: Progress,
    verifier: Verifies | None = None,
    engine: str = "auto",
) -> dict[str, float]:
    """Fits the embedder's calibration to the `sets`, writes it into its manifest, and `unknowns.npy` next to its programs.

    `unknown` are pictures that are unrelated to all products. Returns the open-set metrics, by the set's name and theirs,
    which are in the manifest's metrics too: of labels that a fit to the other half of the labels never saw, in galleries calibrated as at an
    enrolment. With a `verifier` its parameters are fitted too. The model's digest stays. Raises DatasetError, ModelError.
    """
    embed = Embedder(artifact, engine, threads=2)
    spread = np.unique(np.linspace(0, len(unknown) - 1, min(len(unknown), MOST_UNKNOWNS)).astype(int))
    if not len(spread):
        raise DatasetError("no pictures of unknown things are given")
    chosen = [Photo(unknown[at], unknown[at].name, "") for at in spread.tolist()]
    unknowns = embed_photos(embed, chosen, "unknown pictures", progress)
    known = [labelled_rows(one, embed, progress) for one in sets]
    threshold = embed.similarity_threshold
    calibration = fit_embedder(known, unknowns, threshold)
    if verifier is not None:
        featured = [with_features(one, rows, verifier) for one, rows in zip(sets, known, strict=True)]
        calibration = fit_verified(calibration, featured, verifier)
    metrics = held_out_metrics(known, unknowns, threshold)
    write(artifact, calibration, unknowns, metrics)
    return metrics


def held_out_metrics(known: Sequence[LabelledRows], unknowns: Rows, similarity_threshold: float) -> dict[str, float]:
    """Open-set metrics of every second label, and of every second unknown, by a fit to the others."""
    fitted = fit_embedder([of_labels(one, 0) for one in known], unknowns[::2], similarity_threshold)
    held_out: dict[str, float] = {}
    for one in known:
        rest = of_labels(one, 1)
        own = own_calibration(rest, unknowns[::2], fitted)
        metrics = open_set_metrics(answer_openly(rest, unknowns[1::2], own), own)
        held_out |= {f"{one.name} {name}": value for name, value in metrics.items() if value is not None}
    return held_out


def of_labels(known: LabelledRows, remainder: int) -> LabelledRows:
    """The rows of every second label."""
    kept = known.labels % 2 == remainder
    gallery = None if known.gallery is None else known.gallery[kept]
    views = None if known.views is None else known.views[kept]
    return LabelledRows(known.name, known.rows[kept], known.labels[kept], gallery, views)


def labelled_rows(one: PhotoSet, embed: Embedder, progress: Progress) -> LabelledRows:
    """The embeddings of a set and, as an enrolment makes it, of a view of each of its pictures that may be enrolled."""
    ids = {label: number for number, label in enumerate(sorted({photo.label for photo in one.photos}))}
    labels = np.array([ids[photo.label] for photo in one.photos])
    rows = embed_photos(embed, one.photos, one.name, progress)
    views = np.zeros_like(rows)
    for at, photo in enumerate(one.photos[: one.gallery or None]):
        sha256 = hashlib.sha256(photo.path.read_bytes()).hexdigest()
        views[at] = embed_views([read_rgb(photo.path)], [sha256], embed)[0]
    gallery = np.arange(len(labels)) < one.gallery if one.gallery else None
    return LabelledRows(one.name, rows, labels, gallery, views)


def with_features(one: PhotoSet, known: LabelledRows, verifier: Verifies) -> tuple[LabelledRows, list[Any]]:
    """So many of a set's photos, whole labels, with their local features."""
    kept: list[int] = []
    for label in np.random.default_rng(0).permutation(np.unique(known.labels)).tolist():
        own = np.flatnonzero(known.labels == label)
        kept += own[: max(2, MOST_VERIFIED // 20)].tolist()
        if len(kept) >= MOST_VERIFIED:
            break
    features = [verifier.describe(read_rgb(one.photos[at].path)) for at in kept]
    return LabelledRows(known.name, known.rows[kept], known.labels[kept]), features


def write(
    artifact: Path,
    calibration: Calibration,
    unknowns: NDArray[np.float32],
    metrics: dict[str, float],
) -> None:
    """`unknowns.npy`, and calibration and metrics in the manifest."""
    part = artifact / f"{UNKNOWNS}.part"
    with part.open("wb") as file:
        np.save(file, unknowns.astype(np.float16), allow_pickle=False)
    part.replace(artifact / UNKNOWNS)
    table = json.loads((artifact / MANIFEST).read_bytes())
    kept = {key: value for key, value in table.items() if key not in ("schema", "files")}
    metrics = {**kept.get("metrics", {}), **metrics}
    write_manifest(artifact, **{**kept, "metrics": metrics, "calibration": calibration.to_dict()})

"""What ships beside an embedder's programs so that its answers can be told by how sure they are.

The embedder's own calibration is fitted to its evaluation sets, which it was not trained on: galleries of many shapes are made
of them (`fit_calibration`), with labels left out and with pictures of other things as queries that have no right answer.
The embeddings of those pictures ship too, for the galleries' own fits. What the manifest tells of each set was measured
with a calibration fitted to the other sets.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import verification
from models.artifacts import MANIFEST, write_manifest
from models.augmented_view import augmented_view
from models.calibration import Calibration
from models.embedder import Embedder
from models.manifest import UNKNOWNS
from models.second_look import Verifies
from models.training.exam_photos import PhotoSheet, photo_sheets
from models.training.fit_calibration import LabelledRows, fit_embedder
from models.training.fit_verified import fit_verified
from models.training.open_set_rates import answer_openly, open_set_metrics, own_calibration
from models.training.photos import read_rgb
from models.training.readers.labelled import read_photos
from models.training.recipe import EmbedderRecipe

Tell = Callable[[str, int, int], None]
BATCH = 16
MOST_VERIFIED = 600  # photos of one set whose local features are looked at


@dataclass(frozen=True)
class EvaluationSet:
    """One set, embedded; `features` are the local features of the photos `verified` (rows of `known`)."""

    known: LabelledRows
    features: Sequence[Any]
    verified: NDArray[np.int64]


def add_calibration(artifact: Path, recipe: EmbedderRecipe, data: Path | None, tell: Tell) -> None:
    """Fit the artifact's calibration and write it, the unknown queries and the open-set figures beside its programs.

    Does nothing without `data`, or where the recipe has neither photos to evaluate on nor unknown ones. Raises DatasetError.
    """
    if data is None:
        return
    embedder = Embedder(artifact, threads=2)
    sheets = photo_sheets(recipe.exams, data)
    if not sheets or not recipe.unknowns:
        return
    unknowns = embed_unknowns(embedder, recipe, data, tell)
    sets = [embedded_set(embedder, sheet, tell) for sheet in sheets]
    threshold = embedder.similarity_threshold
    calibration = fitted(sets, unknowns, threshold)
    metrics: dict[str, float] = {}
    for number, each in enumerate(sets):
        others = fitted([*sets[:number], *sets[number + 1 :]], unknowns, threshold) if len(sets) > 1 else calibration
        own = own_calibration(each.known, unknowns, others)
        for name, value in open_set_metrics(answer_openly(each.known, unknowns, own), own).items():
            if value is not None and "similarity" not in name:
                metrics[f"{each.known.name} {name}"] = value
    np.save(artifact / UNKNOWNS, unknowns.astype(np.float16), allow_pickle=False)
    table = json.loads((artifact / MANIFEST).read_bytes())
    kept = {key: value for key, value in table.items() if key not in ("schema", "files")}
    merged = {**kept, "metrics": {**kept["metrics"], **metrics}, "calibration": calibration.to_dict()}
    write_manifest(artifact, **merged)


def fitted(sets: Sequence[EvaluationSet], unknowns: NDArray[np.float32], threshold: float) -> Calibration:
    """The embedder's own calibration by these sets, with what a second look adds."""
    first = fit_embedder([each.known for each in sets], unknowns, threshold)
    looked = [(rows_of(each.known, each.verified), each.features) for each in sets]
    verifier: Verifies = verification  # a module has the two functions
    return fit_verified(first, looked, verifier)


def rows_of(known: LabelledRows, chosen: NDArray[np.int64]) -> LabelledRows:
    """Some of a set's rows, all of which may be enrolled."""
    return LabelledRows(known.name, known.rows[chosen], known.labels[chosen])


def embedded_set(embedder: Embedder, sheet: PhotoSheet, tell: Tell) -> EvaluationSet:
    """The photos of a sheet as the service embeds them; views for those of labels with one enrolled photo."""
    rng = np.random.default_rng(0)
    may = sheet.gallery if sheet.gallery.any() else np.ones(len(sheet.labels), bool)
    counts = np.bincount(sheet.labels[may], minlength=int(sheet.labels.max()) + 1)
    verified = np.sort(rng.permutation(len(sheet.labels))[:MOST_VERIFIED])
    looked = set(verified.tolist())
    rows, views, features = [], [], []
    for number, photo in enumerate(sheet.photos):
        tell(f"photos of {sheet.name}", number, len(sheet.photos))
        image = read_rgb(photo.path)
        alone = bool(may[number]) and counts[sheet.labels[number]] <= 3
        pictures = [image, augmented_view(image, number)] if alone else [image]
        answer = embedder(pictures)
        rows.append(answer[0])
        views.append(answer[-1] if alone else np.zeros_like(answer[0]))
        if number in looked:
            features.append(verification.describe(image))
    tell(f"photos of {sheet.name}", len(sheet.photos), len(sheet.photos))
    gallery = sheet.gallery if sheet.gallery.any() else None
    known = LabelledRows(sheet.name, np.stack(rows), sheet.labels, gallery, np.stack(views))
    return EvaluationSet(known, features, verified)


def embed_unknowns(embedder: Embedder, recipe: EmbedderRecipe, data: Path, tell: Tell) -> NDArray[np.float32]:
    """(U, D) embeddings of the recipe's pictures of other things, evenly out of each source. Raises DatasetError."""
    chosen = []
    for source in recipe.unknowns:
        photos = read_photos(data / source.root, source.file, source.delimiter)
        places = np.linspace(0, len(photos) - 1, min(source.most, len(photos))).astype(int)
        chosen += [photos[place] for place in places]
    rows = []
    for start in range(0, len(chosen), BATCH):
        rows.append(embedder([read_rgb(photo.path) for photo in chosen[start : start + BATCH]]))
        tell("unknown pictures", min(start + BATCH, len(chosen)), len(chosen))
    return np.concatenate(rows)

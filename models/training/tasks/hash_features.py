"""What a frozen embedder says of a recipe's pictures, computed once by its exported program and kept: minutes become seconds."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.embedder import Embedder
from models.evaluation.eval_sets import Sheet
from models.training.data.augment import augment
from models.training.data.pool import Pool, on_grey
from models.training.engine.checkpoint import Arrays, Checkpoint
from models.training.recipes.embedder import as_table
from models.training.recipes.hash import HashRecipe

Rows = NDArray[np.float32]
Numbers = NDArray[np.int64]
BATCH = 32


@dataclass(frozen=True, eq=False)
class KnownExam:
    """An exam whose pictures are embedded already; as in Sheet, `gallery` marks what is searched."""

    name: str
    rows: Rows
    labels: Numbers
    gallery: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Features:
    """A recipe's changed views and its exams, as unit rows of the base."""

    rows: Rows  # (N, D)
    labels: Numbers  # (N,)
    sources: Numbers  # (N,)
    exams: tuple[KnownExam, ...]


def known_features(
    recipe: HashRecipe,
    base: Path,
    pool: Pool,
    sheets: Sequence[Sheet],
    data: Path | None,
    file: Path,
    prepare: Callable[[str, int, int], None],
    threads: int,
) -> Features:
    """Those in `file` if they are of this recipe's pictures and of this very base; else they are made, and kept there.

    `base` is the embedder's folder, `sheets` are the recipe's exams, of which those on photos are of the folder `data`.
    Each view is embedded once as it is, on grey, and otherwise changed at random, as training would. Raises ArtifactError,
    EngineError, DatasetError.
    """
    embed = Embedder(base, threads=threads)
    made_from = _made_from(recipe, embed.digest, data)
    if file.exists() and (kept := Checkpoint.load(file)).progress.get("made_from") == made_from:
        return _unpacked(kept)
    changes, size = recipe.network.changes, embed.manifest.input.height
    total, parts = len(pool.views) * changes, []
    for start in range(0, total, BATCH):
        parts.append(embed([_view(pool, recipe, at, size) for at in range(start, min(start + BATCH, total))]))
        prepare("embeddings", min(start + BATCH, total), total)
    which = np.arange(total) // changes
    views: Arrays = {"rows": np.concatenate(parts), "labels": pool.labels[which], "sources": pool.sources[which]}
    groups = {"views": views}
    for number, sheet in enumerate(sheets):
        prepare("exams", number + 1, len(sheets))
        groups[f"exam{number}"] = {"rows": embed(list(sheet.images)), "labels": sheet.labels, "gallery": sheet.gallery}
    kept = Checkpoint(groups, {"made_from": made_from, "exams": [sheet.name for sheet in sheets]})
    kept.save(file)
    return _unpacked(kept)


def known_exams(embed: Callable[[NDArray[np.uint8]], Rows], sheets: Sequence[Sheet]) -> list[KnownExam]:
    """Exams whose pictures `embed`, (N, s, s, 3) RGB -> (N, D), has just seen."""
    taken = []
    for sheet in sheets:
        rows = [embed(sheet.images[start : start + BATCH]) for start in range(0, len(sheet.images), BATCH)]
        taken.append(KnownExam(sheet.name, np.concatenate(rows), sheet.labels, sheet.gallery))
    return taken


def _view(pool: Pool, recipe: HashRecipe, at: int, size_px: int) -> NDArray[np.uint8]:
    view = pool.views[at // recipe.network.changes]
    if at % recipe.network.changes == 0:
        return on_grey(view)
    return augment(view, size_px, np.random.default_rng([recipe.seed, 9, at]), pool.backgrounds)


def _made_from(recipe: HashRecipe, digest: str, data: Path | None) -> dict[str, object]:
    table = json.loads(json.dumps(as_table(recipe)))
    kept = {key: table[key] for key in ("data", "exams", "seed", "pool_px", "deploy_px")}
    pictures = hashlib.sha256(json.dumps([kept, data is not None], sort_keys=True).encode()).hexdigest()
    return {"pictures": pictures, "changes": recipe.network.changes, "base": digest}


def _unpacked(kept: Checkpoint) -> Features:
    exams = []
    for number, name in enumerate(kept.progress["exams"]):
        group = kept.groups[f"exam{number}"]
        exams.append(KnownExam(name, group["rows"], group["labels"], group["gallery"]))
    views = kept.groups["views"]
    return Features(views["rows"], views["labels"], views["sources"], tuple(exams))

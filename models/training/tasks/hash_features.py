"""What a frozen embedder says of a recipe's pictures, computed once by its exported program and kept: minutes become seconds."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.embedder import Embedder
from models.evaluation.eval_sets import EvalSet
from models.training.data.augment import augment
from models.training.data.pool import Pool, on_grey
from models.training.engine.checkpoint import Arrays, Checkpoint
from models.training.recipes.hash import HashRecipe
from models.training.recipes.reading import as_table

Rows = NDArray[np.float32]
Numbers = NDArray[np.int64]
BATCH = 32


@dataclass(frozen=True, eq=False)
class EmbeddedEvalSet:
    """An eval set whose pictures are embedded already; as in EvalSet, `gallery` marks what is searched."""

    name: str
    rows: Rows
    labels: Numbers
    gallery: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Features:
    """A recipe's augmented views and its eval sets, as unit rows of the base."""

    rows: Rows  # (N, D)
    labels: Numbers  # (N,)
    sources: Numbers  # (N,)
    eval: tuple[EmbeddedEvalSet, ...]


def known_features(
    recipe: HashRecipe,
    base: Path,
    pool: Pool,
    splits: Sequence[EvalSet],
    data: Path | None,
    file: Path,
    prepare: Callable[[str, int, int], None],
    threads: int,
) -> Features:
    """Those in `file` if they are of this recipe's pictures and of this very base; else they are made, and kept there.

    `base` is the embedder's folder, `splits` are the recipe's eval sets, of which those on photos are of the folder `data`.
    Each view is embedded once as it is, on grey, and otherwise augmented, as training would. Raises ArtifactError,
    EngineError, DatasetError.
    """
    embed = Embedder(base, threads=threads)
    made_from = _made_from(recipe, embed.digest, data)
    if file.exists() and (kept := Checkpoint.load(file)).progress.get("made_from") == made_from:
        return _unpacked(kept)
    changes, size = recipe.network.augmented_views, embed.manifest.input.height
    total, parts = len(pool.views) * changes, []
    for start in range(0, total, BATCH):
        parts.append(embed([_view(pool, recipe, at, size) for at in range(start, min(start + BATCH, total))]))
        prepare("embeddings", min(start + BATCH, total), total)
    which = np.arange(total) // changes
    views: Arrays = {"rows": np.concatenate(parts), "labels": pool.labels[which], "sources": pool.sources[which]}
    groups = {"views": views}
    for number, split in enumerate(splits):
        prepare("eval", number + 1, len(splits))
        groups[f"eval set{number}"] = {
            "rows": embed(list(split.images)),
            "labels": split.labels,
            "gallery": split.gallery,
        }
    kept = Checkpoint(groups, {"made_from": made_from, "eval": [split.name for split in splits]})
    kept.save(file)
    return _unpacked(kept)


def embedded_eval_sets(embed: Callable[[NDArray[np.uint8]], Rows], splits: Sequence[EvalSet]) -> list[EmbeddedEvalSet]:
    """Eval sets whose pictures `embed`, (N, s, s, 3) RGB -> (N, D), has just seen."""
    taken = []
    for split in splits:
        rows = [embed(split.images[start : start + BATCH]) for start in range(0, len(split.images), BATCH)]
        taken.append(EmbeddedEvalSet(split.name, np.concatenate(rows), split.labels, split.gallery))
    return taken


def _view(pool: Pool, recipe: HashRecipe, at: int, size_px: int) -> NDArray[np.uint8]:
    view = pool.views[at // recipe.network.augmented_views]
    if at % recipe.network.augmented_views == 0:
        return on_grey(view)
    return augment(view, size_px, np.random.default_rng([recipe.seed, 9, at]), pool.backgrounds)


def _made_from(recipe: HashRecipe, digest: str, data: Path | None) -> dict[str, object]:
    table = json.loads(json.dumps(as_table(recipe)))
    kept = {key: table[key] for key in ("data", "eval", "seed", "pool_px", "deploy_px")}
    pictures = hashlib.sha256(json.dumps([kept, data is not None], sort_keys=True).encode()).hexdigest()
    return {"pictures": pictures, "augmented_views": recipe.network.augmented_views, "base": digest}


def _unpacked(kept: Checkpoint) -> Features:
    eval_sets = []
    for number, name in enumerate(kept.progress["eval"]):
        group = kept.groups[f"eval set{number}"]
        eval_sets.append(EmbeddedEvalSet(name, group["rows"], group["labels"], group["gallery"]))
    views = kept.groups["views"]
    return Features(views["rows"], views["labels"], views["sources"], tuple(eval_sets))

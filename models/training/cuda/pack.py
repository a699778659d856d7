"""Packs a recipe's photos, its teachers and its constants for `distil`, which has none of the project's packages."""

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from models.training.cuda.packed import VALIDATION, Picture, encode, write
from models.training.data.cutouts import cut_out
from models.training.data.photos import Photo, read_rgb
from models.training.data.pool import training_photos
from models.training.data.readers.labelled import read_photos
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.half_weights import SMALL
from models.training.errors import TrainingError
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.reading import as_table

SIDE_PX, QUALITY = 256, 76  # of a WebP file


def pack(
    recipe: EmbedderRecipe,
    data: Path,
    teachers: dict[str, Path],
    folder: Path,
    sources: Sequence[str],
    *,
    side_px: int = SIDE_PX,
    quality: int = QUALITY,
    processes: int = 1,
) -> Path:
    """Write photos of `sources` (the recipe's names) to `folder`; the teachers and the plan with the first of them.

    `teachers` are checkpoints (a run's `best.npz`) by kind, the first the one whose embeddings are the targets. Returns the
    file of photos. Raises DatasetError, ArtifactError, TrainingError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unknown = set(sources) - {source.name for source in recipe.data}
    if unknown:
        raise TrainingError(f"the recipe has no source {sorted(unknown)[0]!r}")
    for kind, checkpoint in teachers.items():
        _pack_weights(Checkpoint.load(checkpoint).groups["embedder"], folder / f"{kind}.npz")
    plan = {
        "teachers": list(teachers),
        "weights": [teacher.weight for teacher in recipe.teachers],
        "size_px": recipe.deploy_px,
        "seed": recipe.seed,
        "sources": {source.name: as_table(source) for source in recipe.data},
        "loss": as_table(recipe.loss),
        "optimizer": as_table(recipe.optimizer),
    }
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    path = folder / f"photos-{'-'.join(name.split()[-1] for name in sources)}.npz"
    wanted = list(_wanted(recipe, data, sources, side_px, quality))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        made = executor.map(_encoded, *zip(*wanted, strict=True), chunksize=32)
        write(path, [picture for some in made for picture in some])
    return path


def _wanted(
    recipe: EmbedderRecipe, data: Path, sources: Sequence[str], side: int, quality: int
) -> Iterator[tuple[Photo, str, str, str, int, int, bool]]:
    """What `_encoded` is to do: each training photo once, and the pictures that checkpoints are chosen by."""
    for source in recipe.data:
        if source.kind != "list" or source.name not in sources:
            continue
        photos = training_photos(source, data)
        owner = source.same_labels_as or source.name
        for photo in photos:
            free = source.cut_out or source.holdout
            yield photo, f"{owner}/{photo.label}", source.name, "training", side, quality, free
        eval_source = next((one for one in recipe.eval if one.kind == "lists" and one.root == source.root), None)
        if eval_source is not None and not source.same_labels_as:
            for photo in read_photos(data / eval_source.root, eval_source.file, eval_source.delimiter):
                yield photo, f"{owner}/{photo.label}", source.name, VALIDATION, side, quality, False


def _encoded(photo: Photo, label: str, source: str, part: str, side: int, quality: int, free: bool) -> list[Picture]:
    """The photo, and what stands free in it as a second picture."""
    image = read_rgb(photo.path)
    made = [Picture(encode(image, side, quality), label, source, part)]
    found = cut_out(image) if free else None
    if found is not None:
        made.append(Picture(encode(found, side, quality), label, source, part))
    return made


def _pack_weights(arrays: dict[str, np.ndarray], path: Path) -> None:
    """The larger ones in 16 bits, as they are served."""
    kept = {
        name: array.astype(np.float16) if math.prod(array.shape) >= SMALL else array for name, array in arrays.items()
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **kept)

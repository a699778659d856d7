"""What a recipe adds to an embedder's calibration: which photos it is fitted to, and which are unknown."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models import verification
from models.evaluation.calibrate_embedder import PhotoSet, calibrate_embedder
from models.evaluation.photo_sets import photo_eval_sets
from models.evaluation.retrieval import Progress
from models.recognition.second_look import Verifies
from models.training.data.readers.labelled import read_photos
from models.training.recipes.embedder import EmbedderRecipe


def add_calibration(artifact: Path, recipe: EmbedderRecipe, data: Path | None, progress: Progress) -> dict[str, float]:
    """Calibrate the artifact by the recipe's evaluation photos and its pictures of other things; returns the metrics.

    Does nothing without `data`, or where the recipe has neither photos to evaluate on nor unknown ones. Raises DatasetError.
    """
    if data is None or not recipe.unknowns:
        return {}
    sets = list(photo_sets(recipe, data))
    if not sets:
        return {}
    verifier: Verifies = verification  # a module has the two functions
    return calibrate_embedder(artifact, sets, unknown_pictures(recipe, data), progress, verifier)


def photo_sets(recipe: EmbedderRecipe, data: Path) -> Iterator[PhotoSet]:
    """The recipe's evaluation photos, those of the gallery first."""
    for split in photo_eval_sets(recipe.eval, data):
        order = np.argsort(~split.gallery, kind="stable")
        yield PhotoSet(split.name, [split.photos[place] for place in order], int(split.gallery.sum()))


def unknown_pictures(recipe: EmbedderRecipe, data: Path) -> list[Path]:
    """The recipe's pictures of other things, evenly out of each source."""
    chosen: list[Path] = []
    for source in recipe.unknowns:
        photos = read_photos(data / source.root, source.file, source.delimiter)
        places = np.linspace(0, len(photos) - 1, min(source.most, len(photos))).astype(int)
        chosen += [photos[place].path for place in places]
    return chosen

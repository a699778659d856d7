"""The pictures that a detector is evaluated on, none of which it trains on."""

from collections.abc import Sequence
from pathlib import Path

from models.training.data.detection_sources import open_photos, read_foreground, read_pseudo_labelled, rendered_pictures
from models.training.data.detection_views import Picture
from models.training.data.readers.voc import read_voc
from models.training.errors import TrainingError
from models.training.recipes.detector import DetectorEvalSource, DetectorRecipe


def eval_pictures(eval_set: DetectorEvalSource, recipe: DetectorRecipe, data: Path | None) -> Sequence[Picture]:
    """The pictures of an eval set; photos at their own size. Raises TrainingError, DatasetError."""
    if eval_set.kind == "rendered":
        return list(rendered_pictures(eval_set.first_seed, eval_set.count, recipe.pool_px))
    if data is None:
        raise TrainingError(f"the recipe's eval set {eval_set.name!r} needs a data folder (--data)")
    root = data / eval_set.root
    if eval_set.kind == "photos":
        return list(
            read_pseudo_labelled(root, eval_set.file, eval_set.delimiter, data / eval_set.teacher, held_out=True)
        )
    if eval_set.kind == "coco":
        return list(open_photos(read_foreground(root, eval_set.file, eval_set.images)[0]))
    return list(open_photos(read_voc(root, eval_set.images)[1::2]))

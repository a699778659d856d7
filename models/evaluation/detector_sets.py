"""The pictures that a detector is evaluated on, none of which it trains on."""

from collections.abc import Sequence
from pathlib import Path

from models.training.data.detection_sources import open_photos, read_foreground, read_taught, rendered_pictures
from models.training.data.detection_views import Picture
from models.training.data.readers.voc import read_voc
from models.training.errors import TrainingError
from models.training.recipes.detector import DetectorExam, DetectorRecipe


def exam_pictures(exam: DetectorExam, recipe: DetectorRecipe, data: Path | None) -> Sequence[Picture]:
    """The pictures of an exam; photos at their own size. Raises TrainingError, DatasetError."""
    if exam.kind == "rendered":
        return list(rendered_pictures(exam.first_seed, exam.count, recipe.pool_px))
    if data is None:
        raise TrainingError(f"the recipe's exam {exam.name!r} needs a data folder (--data)")
    root = data / exam.root
    if exam.kind == "photos":
        return list(read_taught(root, exam.file, exam.delimiter, data / exam.teacher, held_out=True))
    if exam.kind == "coco":
        return list(open_photos(read_foreground(root, exam.file, exam.images)[0]))
    return list(open_photos(read_voc(root, exam.images)[1::2]))

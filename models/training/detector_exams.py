"""A detector's exams: pictures never trained on, and what weights reach in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.nets.picodet import PicoDet
from models.training.checkpoint import Checkpoint, to_arrays
from models.training.detection_metrics import evaluate_detector
from models.training.detection_sources import open_photos, read_foreground, read_taught, rendered_pictures
from models.training.detection_views import Picture
from models.training.detector_network import detect_with
from models.training.detector_recipe import DetectorExam, DetectorRecipe
from models.training.errors import TrainingError
from models.training.readers.voc import read_voc
from models.training.recipe import as_table
from models.training.run import Examined, score_of


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


def examine(
    recipe: DetectorRecipe,
    judge: PicoDet,
    weights: Mapping[str, Any],
    exams: Mapping[str, Sequence[Picture]],
    step: int,
    threads: int = 1,
) -> Examined:
    """AP50 and AP50:95 of `weights` in the network `judge`, in each exam; the mean AP50 of `select_by` is the score."""
    judge.set_state_dict(dict(weights))
    detect = detect_with(judge, recipe.deploy_px, sum(map(len, exams.values())), threads)
    results = {name: evaluate_detector(detect, pictures) for name, pictures in exams.items()}
    score = score_of({name: figures["AP50"] for name, figures in results.items()}, recipe.select_by, step)
    progress = {"step": step, "exams": results, "recipe": as_table(recipe)}
    return Examined(results, score, Checkpoint({"detector": to_arrays(dict(weights))}, progress))

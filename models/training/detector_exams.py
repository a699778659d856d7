"""A detector's exams: pictures never trained on, and which weights are kept by them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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


def keep_best(
    recipe: DetectorRecipe,
    judge: PicoDet,
    weights: Mapping[str, Any],
    exams: Mapping[str, Sequence[Picture]],
    step: int,
    best: float,
    path: Path,
) -> tuple[dict[str, dict[str, float]], float]:
    """Examine `weights` in the network `judge`; save them to `path` unless earlier ones were better than `best`.

    Returns each exam's AP50 and AP50:95, and the best score so far: the mean AP50 of the recipe's `select_by`, or the
    step where there are no exams.
    """
    judge.set_state_dict(dict(weights))
    detect = detect_with(judge, recipe.deploy_px)
    results = {name: evaluate_detector(detect, pictures) for name, pictures in exams.items()}
    names = recipe.select_by or tuple(results)
    score = float(np.mean([results[name]["AP50"] for name in names])) if names else float(step)
    if score >= best:
        best = score
        progress = {"step": step, "exams": results, "recipe": as_table(recipe)}
        Checkpoint({"detector": to_arrays(dict(weights))}, progress).save(path)
    return results, best

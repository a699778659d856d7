"""A detector's exams: pictures never trained on, and what weights reach in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.evaluation.detection_metrics import evaluate_detector
from models.nets.picodet import PicoDet
from models.training.data.detection_views import Picture
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.run import Examined, score_of
from models.training.networks.detector import detect_with
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.embedder import as_table


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

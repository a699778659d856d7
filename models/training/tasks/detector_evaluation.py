"""A detector's eval sets: pictures never trained on, and the metrics of a network on them."""

from collections.abc import Mapping, Sequence

from models.evaluation.detection_metrics import detector_metrics
from models.nets.picodet import PicoDet
from models.training.data.detection_views import Picture
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.run import Evaluated, score_of
from models.training.networks.detector import detect_with
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.reading import as_table


def evaluate(
    recipe: DetectorRecipe,
    eval_model: PicoDet,
    eval_sets: Mapping[str, Sequence[Picture]],
    step: int,
    threads: int = 1,
) -> Evaluated:
    """AP50 and AP50:95 of `eval_model` in each eval set; the mean AP50 of `select_by` is the score."""
    detect = detect_with(eval_model, recipe.deploy_px, sum(map(len, eval_sets.values())), threads)
    results = {name: detector_metrics(detect, pictures) for name, pictures in eval_sets.items()}
    score = score_of({name: metrics["AP50"] for name, metrics in results.items()}, recipe.select_by, step)
    progress = {"step": step, "eval": results, "recipe": as_table(recipe)}
    return Evaluated(results, score, Checkpoint({"detector": to_arrays(eval_model.state_dict())}, progress))

"""Measures artifacts: exported programs, on pictures that their recipes never trained on, next to the baselines."""

from pathlib import Path

import numpy as np

from models.detector import DEFAULT_CONFIDENCE, Detector
from models.embedder import Embedder
from models.evaluation.detection_metrics import best_threshold, detector_metrics
from models.evaluation.detector_sets import eval_pictures
from models.evaluation.eval_sets import (
    embedded,
    load_eval_sets,
    rankings_of,
    read_eval_sources,
    score,
    score_open_set,
)
from models.evaluation.metrics import open_set
from models.evaluation.neighbours import draw_eval_set
from models.evaluation.photo_sets import photo_eval_sets
from models.evaluation.pipeline import PRODUCTS, SCENES, PipelineEvaluation, evaluate_pipeline
from models.evaluation.retrieval import Progress, describe_open_set
from models.evaluation.verified_recall import verified_recall
from models.recognition.pipeline import Recognizer
from models.training.recipes.detector import DetectorEvalSource, DetectorRecipe
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.pictures import EvalSource, PictureSources

Metrics = dict[str, float]
UNKNOWNS_RENDERED = 150  # rendered products that the similarity threshold is set by where a recipe has no eval set


def silent(what: str, done: int, of: int) -> None:
    """Reports no progress."""


def evaluate_embedder(
    artifact: Path,
    recipe: EmbedderRecipe,
    data: Path | None,
    engine: str = "auto",
    precision: str = "auto",
    progress: Progress = silent,
) -> Metrics:
    """recall@1 of the recipe's eval sets, by the exported program. Eval sets on photos need `data`."""
    return evaluate_embedder_openly(artifact, recipe, data, engine, precision, progress)[0]


def evaluate_embedder_openly(
    artifact: Path,
    recipe: EmbedderRecipe,
    data: Path | None,
    engine: str = "auto",
    precision: str = "auto",
    progress: Progress = silent,
    draw_to: Path | None = None,
    *,
    verify: bool = False,
) -> tuple[Metrics, dict[str, dict[str, float | None]]]:
    """recall@1 of the eval sets, and of each what the manifest's threshold answers: of the known, and of unknowns.

    With `verify`, the same of sets of photos after a second look at the first items. With `draw_to`, contact sheets of each eval set, some pictures with their neighbours, are written into that folder.
    """
    embedder = Embedder(artifact, engine, threads=2, precision=precision)
    splits = load_eval_sets(recipe, data, recipe.deploy_px)
    photos = {split.name: split for split in photo_eval_sets(recipe.eval, data)} if verify else {}
    metrics, open_sets = {}, {}
    for number, split in enumerate(splits):
        progress("embedder's eval sets", number, len(splits))
        rows = embedded(lambda images: embedder(list(images)), split)
        metrics[split.name] = score(rows, split)
        if split.name in photos:
            metrics[f"{split.name} verified"] = verified_recall(rows, photos[split.name], progress)
        if draw_to is not None:
            draw_eval_set(split, rows, draw_to / f"neighbours-{split.name}.png")
        threshold = embedder.similarity_threshold
        open_sets[split.name] = describe_open_set(score_open_set(rows, split, threshold), threshold)
    progress("embedder's eval sets", len(splits), len(splits))
    return rounded(metrics), open_sets


def evaluate_detector(
    artifact: Path,
    recipe: DetectorRecipe,
    data: Path | None,
    engine: str = "auto",
    precision: str = "auto",
    progress: Progress = silent,
) -> Metrics:
    """AP50 and AP50:95 of the recipe's eval sets, by the exported program, with the serving code's decoding."""
    detector = Detector(artifact, engine, threads=2, precision=precision)
    eval_sets = eval_sets_at_hand(recipe, data)
    metrics: Metrics = {}
    for number, eval_set in enumerate(eval_sets):
        progress("detector's eval sets", number, len(eval_sets))
        for name, value in detector_metrics(detector.candidates, eval_pictures(eval_set, recipe, data)).items():
            metrics[f"{eval_set.name} {name}"] = value
    progress("detector's eval sets", len(eval_sets), len(eval_sets))
    return rounded(metrics)


def eval_sets_at_hand(recipe: DetectorRecipe, data: Path | None) -> list[DetectorEvalSource]:
    """The recipe's eval sets but for those on photos without `data`, and those on boxes that were not made yet."""
    return [
        eval_set
        for eval_set in recipe.eval
        if eval_set.kind == "rendered"
        or (data is not None and (not eval_set.made or (data / eval_set.root / eval_set.file).is_file()))
    ]


def suggest_confidence(artifact: Path, recipe: DetectorRecipe, data: Path | None, engine: str = "auto") -> float:
    """The score from which boxes are served: where their F2 at IoU 0.5 is best, over the eval sets that choose the weights.

    F2, for an object that is missed here is lost, while a wrong box must still be like something in the gallery. The mean over these eval sets' own best scores, so that the eval set with most pictures does not decide alone. 0.2,
    PP-ShiTu's own, where nothing is found.
    """
    detector = Detector(artifact, engine, threads=2)
    chosen = eval_sets_at_hand(recipe, data)
    chosen = [eval_set for eval_set in chosen if eval_set.name in recipe.select_by] or chosen
    best = []
    for eval_set in chosen:
        pictures = list(eval_pictures(eval_set, recipe, data))
        found = [detector.candidates(picture.image) for picture in pictures]
        crowds = [picture.certainty == 0 for picture in pictures]
        best.append(best_threshold(found, [picture.boxes for picture in pictures], crowds, beta=2.0)["threshold"])
    known = [score for score in best if np.isfinite(score)]
    return round(float(np.mean(known)), 2) if known else DEFAULT_CONFIDENCE


def evaluate_whole(
    detector: Path,
    embedder: Path,
    engine: str = "auto",
    *,
    scenes: int | None = None,
    products: int | None = None,
    progress: Progress = silent,
) -> PipelineEvaluation:
    """Photo in, labels out, by two artifacts: `scenes` rendered scenes of `products` products never trained on."""
    embed = Embedder(embedder, engine, threads=2)
    recognize = Recognizer(Detector(detector, engine, threads=2), embed)
    return evaluate_pipeline(recognize, embed, progress, scenes or SCENES, products or PRODUCTS)


def suggest_similarity(artifact: Path, recipe: PictureSources, data: Path | None = None, engine: str = "auto") -> float:
    """The threshold that separates known things from unknowns best, over the eval sets that choose the weights; to two decimals.

    Best is the largest mean of (known ones answered rightly - unknowns answered), Youden's J of each eval set. Without an eval set
    that can be taken, rendered products never trained on are the queries.
    """
    embedder = Embedder(artifact, engine, threads=2)
    splits = load_eval_sets(recipe, data, recipe.deploy_px)
    chosen = [split for split in splits if split.name in recipe.select_by] or splits
    if not chosen:
        rendered = EvalSource(kind="rendered", name="unknowns", products=UNKNOWNS_RENDERED)
        chosen = read_eval_sources((rendered,), None, recipe.deploy_px)
    taken = [rankings_of(embedded(lambda images: embedder(list(images)), split), split) for split in chosen]
    grid = np.arange(100) / 100
    gains = [[kept.known - kept.unknowns for kept in (open_set(each, float(t)) for t in grid)] for each in taken]
    return float(grid[np.nanmean(gains, axis=0).argmax()])


def rounded(metrics: Metrics) -> Metrics:
    """The same to four decimals."""
    return {name: round(value, 4) for name, value in metrics.items()}

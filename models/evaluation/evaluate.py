"""Measures artifacts: exported programs, on pictures that their recipes never trained on, beside the baselines."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.detector import DEFAULT_CONFIDENCE, Detector
from models.embedder import Embedder
from models.evaluation.detection_metrics import best_threshold, evaluate_detector
from models.evaluation.detector_sets import exam_pictures
from models.evaluation.eval_sets import embedded, grade, grade_open_set, rankings_of, set_exams
from models.evaluation.metrics import open_set
from models.evaluation.neighbours import draw_exam
from models.evaluation.photo_sets import photo_sheets
from models.evaluation.pipeline import PRODUCTS, SCENES, PipelineExam, examine_pipeline
from models.evaluation.retrieval import Tell, describe_open_set
from models.evaluation.verified_recall import verified_recall
from models.pipeline import Recognizer
from models.training.recipes.detector import DetectorExam, DetectorRecipe
from models.training.recipes.embedder import EmbedderRecipe, Exam

Figures = dict[str, float]
STRANGERS = 150  # drawn products that the similarity threshold is set by where a recipe has no exam


def silent(what: str, done: int, of: int) -> None:
    """Tells nobody how far an exam is."""


def examine_embedder(
    artifact: Path,
    recipe: EmbedderRecipe,
    data: Path | None,
    engine: str = "auto",
    precision: str = "auto",
    tell: Tell = silent,
) -> Figures:
    """recall@1 of the recipe's exams, by the exported program. Exams on photos need `data`."""
    return examine_embedder_openly(artifact, recipe, data, engine, precision, tell)[0]


def examine_embedder_openly(
    artifact: Path,
    recipe: EmbedderRecipe,
    data: Path | None,
    engine: str = "auto",
    precision: str = "auto",
    tell: Tell = silent,
    draw_to: Path | None = None,
    *,
    verify: bool = False,
) -> tuple[Figures, dict[str, dict[str, float | None]]]:
    """recall@1 of the exams, and of each what the manifest's threshold answers: of the known, and of strangers.

    With `verify`, the same of sets of photos after a second look at the first items. With `draw_to`, some of each exam's pictures and their neighbours are drawn into that folder.
    """
    embedder = Embedder(artifact, engine, threads=2, precision=precision)
    sheets = set_exams(recipe, data, recipe.deploy_px)
    photos = {sheet.name: sheet for sheet in photo_sheets(recipe.exams, data)} if verify else {}
    figures, shares = {}, {}
    for number, sheet in enumerate(sheets):
        tell("embedder's exams", number, len(sheets))
        rows = embedded(lambda images: embedder(list(images)), sheet)
        figures[sheet.name] = grade(rows, sheet)
        if sheet.name in photos:
            figures[f"{sheet.name} verified"] = verified_recall(rows, photos[sheet.name], tell)
        if draw_to is not None:
            draw_exam(sheet, rows, draw_to / f"neighbours-{sheet.name}.png")
        threshold = embedder.similarity_threshold
        shares[sheet.name] = describe_open_set(grade_open_set(rows, sheet, threshold), threshold)
    tell("embedder's exams", len(sheets), len(sheets))
    return rounded(figures), shares


def examine_detector(
    artifact: Path,
    recipe: DetectorRecipe,
    data: Path | None,
    engine: str = "auto",
    precision: str = "auto",
    tell: Tell = silent,
) -> Figures:
    """AP50 and AP50:95 of the recipe's exams, by the exported program, with the serving code's decoding."""
    detector = Detector(artifact, engine, threads=2, precision=precision)
    exams = exams_at_hand(recipe, data)
    figures: Figures = {}
    for number, exam in enumerate(exams):
        tell("detector's exams", number, len(exams))
        for name, value in evaluate_detector(detector.candidates, exam_pictures(exam, recipe, data)).items():
            figures[f"{exam.name} {name}"] = value
    tell("detector's exams", len(exams), len(exams))
    return rounded(figures)


def exams_at_hand(recipe: DetectorRecipe, data: Path | None) -> list[DetectorExam]:
    """The recipe's exams but for those on photos without `data`, and those on boxes that were not made yet."""
    return [
        exam
        for exam in recipe.exams
        if exam.kind == "rendered" or (data is not None and (not exam.made or (data / exam.root / exam.file).is_file()))
    ]


def suggest_confidence(artifact: Path, recipe: DetectorRecipe, data: Path | None, engine: str = "auto") -> float:
    """The score from which boxes are served: where their F2 at IoU 0.5 is best, over the exams that choose the weights.

    F2, for a body that is missed here is lost, while a wrong box must still be like something in the gallery. The mean over these exams' own best scores, so that the exam with most pictures does not decide alone. 0.2,
    PP-ShiTu's own, where nothing is found.
    """
    detector = Detector(artifact, engine, threads=2)
    asked = exams_at_hand(recipe, data)
    asked = [exam for exam in asked if exam.name in recipe.select_by] or asked
    best = []
    for exam in asked:
        pictures = list(exam_pictures(exam, recipe, data))
        found = [detector.candidates(picture.image) for picture in pictures]
        crowds = [picture.certainty == 0 for picture in pictures]
        best.append(best_threshold(found, [picture.boxes for picture in pictures], crowds, beta=2.0)["threshold"])
    known = [score for score in best if np.isfinite(score)]
    return round(float(np.mean(known)), 2) if known else DEFAULT_CONFIDENCE


def examine_whole(
    detector: Path,
    embedder: Path,
    engine: str = "auto",
    *,
    scenes: int | None = None,
    products: int | None = None,
    tell: Tell = silent,
) -> PipelineExam:
    """Photo in, labels out, by two artifacts: `scenes` drawn scenes of `products` products never trained on."""
    embed = Embedder(embedder, engine, threads=2)
    recognize = Recognizer(Detector(detector, engine, threads=2), embed)
    return examine_pipeline(recognize, embed, tell, scenes or SCENES, products or PRODUCTS)


def suggest_similarity(artifact: Path, recipe: EmbedderRecipe, data: Path | None = None, engine: str = "auto") -> float:
    """The threshold that tells known things from strangers best, over the exams that choose the weights; to two decimals.

    Best is the largest mean of (known ones answered rightly - strangers answered), Youden's J of each exam. Without an exam
    that can be taken, drawn products never trained on are asked.
    """
    embedder = Embedder(artifact, engine, threads=2)
    sheets = set_exams(recipe, data, recipe.deploy_px)
    asked = [sheet for sheet in sheets if sheet.name in recipe.select_by] or sheets
    if not asked:
        drawn = Exam(kind="rendered", name="strangers", products=STRANGERS)
        asked = set_exams(replace(recipe, exams=(drawn,), select_by=()), None, recipe.deploy_px)
    taken = [rankings_of(embedded(lambda images: embedder(list(images)), sheet), sheet) for sheet in asked]
    grid = np.arange(100) / 100
    gains = [[kept.known - kept.strangers for kept in (open_set(each, float(t)) for t in grid)] for each in taken]
    return float(grid[np.nanmean(gains, axis=0).argmax()])


def rounded(figures: Figures) -> Figures:
    """The same to four decimals."""
    return {name: round(value, 4) for name, value in figures.items()}

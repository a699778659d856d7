"""Measures artifacts: exported programs, on pictures that their recipes never trained on, beside the baselines."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.boxes import iou
from models.detector import Detector
from models.embedder import Embedder
from models.gallery import Gallery
from models.image import crop
from models.pipeline import RecognizeOptions, Recognizer
from models.training.cpu_convolution import accelerate
from models.training.designs import design_product
from models.training.detection_metrics import evaluate_detector
from models.training.exams import FIRST_EXAM_SEED, examine, examine_colours, examine_teacher, set_exams
from models.training.products import packshot
from models.training.recipe import EmbedderRecipe
from models.training.scenes import render_scene
from models.training.statistics import normalize
from models.training.teachers import PooledFeatures
from models.training.train_detector import DetectorRecipe, exam_pictures
from models.training.train_embedder import build_embedder, embed_with

Figures = dict[str, float]
PIPELINE_PRODUCTS, PIPELINE_SCENES = 60, 60
STRANGERS = 150  # drawn products, at most, that the similarity threshold is set by
MATCH_IOU = 0.5


@dataclass(frozen=True)
class LabelledItem:
    """An item of a gallery that lives in memory only."""

    id: str
    label: str


def examine_embedder(
    artifact: Path, recipe: EmbedderRecipe, data: Path | None, engine: str = "auto", precision: str = "auto"
) -> Figures:
    """recall@1 of the recipe's exams, by the exported program. Exams on photos need `data`."""
    embedder = Embedder(artifact, engine, threads=2, precision=precision)
    return _rounded(examine(lambda images: embedder(list(images)), set_exams(recipe, data, recipe.deploy_px)))


def examine_detector(
    artifact: Path, recipe: DetectorRecipe, data: Path | None, engine: str = "auto", precision: str = "auto"
) -> Figures:
    """AP50 and AP50:95 of the recipe's exams, by the exported program, with the serving code's decoding."""
    detector = Detector(artifact, engine, threads=2, precision=precision)
    exams = [exam for exam in recipe.exams if exam.kind == "rendered" or data is not None]
    figures: Figures = {}
    for exam in exams:
        for name, value in evaluate_detector(detector.candidates, exam_pictures(exam, recipe, data)).items():
            figures[f"{exam.name} {name}"] = value
    return _rounded(figures)


def embedder_baselines(recipe: EmbedderRecipe, data: Path | None) -> dict[str, Figures]:
    """The exams taken by colour histograms, by the same network untrained, and by the recipe's teacher."""
    sheets = set_exams(recipe, data, recipe.deploy_px)
    paddle.seed(0)
    untrained = build_embedder(recipe.network)
    accelerate(untrained, threads=2)
    _calibrate(untrained, np.concatenate([sheet.images[:64] for sheet in sheets]))
    results = {
        "colour histograms": _rounded(examine_colours(sheets)),
        "untrained network": _rounded(examine(embed_with(untrained), sheets)),
    }
    if data is not None and recipe.teacher.model:
        teacher = PooledFeatures(data / recipe.teacher.model, recipe.teacher, threads=2)
        results["teacher's features"] = _rounded(examine_teacher(teacher, sheets))
    return results


def examine_pipeline(
    detector: Path,
    embedder: Path,
    engine: str = "auto",
    *,
    scenes: int | None = None,
    products: int | None = None,
) -> Figures:
    """Photo in, labels out: scenes of drawn products never trained on, asked of a gallery of their packshots.

    By default PIPELINE_SCENES of them and PIPELINE_PRODUCTS products.
    `found`: share of products whose box (IoU >= 0.5) bears the right label. `right`: share of answers that do.
    """
    embed = Embedder(embedder, engine, threads=2)
    recognize = Recognizer(Detector(detector, engine, threads=2), embed)
    designs = [
        (str(seed), design_product(FIRST_EXAM_SEED + seed)) for seed in range(0, 4 * (products or PIPELINE_PRODUCTS), 4)
    ]
    items = [LabelledItem(label, label) for label, _ in designs]
    gallery = Gallery(items, embed([packshot(design, 256) for _, design in designs]), "exam", 1)
    options = RecognizeOptions(max_detections=10)
    rng = np.random.default_rng(11)
    asked = answered = right = 0
    for _ in range(scenes or PIPELINE_SCENES):
        chosen = [designs[i] for i in rng.choice(len(designs), 4, replace=False)]
        scene = render_scene(chosen, (480, 640), rng, count=4, scale=(0.25, 0.5))
        answers = recognize(scene.image, gallery, options).recognitions
        asked, answered = asked + len(scene.labels), answered + len(answers)
        for answer in answers:
            overlaps = iou(np.array([answer.box], np.float32), scene.boxes)[0]
            own = np.array([label == answer.label for label in scene.labels])
            right += bool((own & (overlaps >= MATCH_IOU)).any())
    return _rounded({"found": right / asked, "right": right / max(1, answered)})


def suggest_similarity(artifact: Path, recipe: EmbedderRecipe, engine: str = "auto") -> float:
    """The threshold that keeps 95 % of the right answers on drawn products never trained on; to two decimals.

    Each product is photographed in a scene and asked of a gallery of packshots, its own among them.
    """
    embedder = Embedder(artifact, engine, threads=2)
    examined = max((exam.products for exam in recipe.exams), default=0)
    products = min(STRANGERS, examined or STRANGERS)
    rng = np.random.default_rng(7)
    crops, shots = [], []
    for seed in range(FIRST_EXAM_SEED + 5000, FIRST_EXAM_SEED + 5000 + 12 * products, 12):  # a brand each
        design = design_product(seed)
        scene = render_scene([("asked", design)], (400, 400), rng, count=1, scale=(0.4, 0.7))
        crops.append(crop(scene.image, scene.boxes[0].tolist()))
        shots.append(packshot(design, 256))
    similarity = embedder(crops) @ embedder(shots).T
    right = similarity.argmax(axis=1) == np.arange(len(crops))
    kept = np.diag(similarity)[right] if right.any() else np.zeros(1, np.float32)
    return round(float(np.quantile(kept, 0.05)), 2)


def _calibrate(network: nn.Layer, images: NDArray[np.uint8]) -> None:
    """Give an untrained network's batch norms the statistics of these pictures; else its answers are all alike."""
    network.train()
    with paddle.no_grad():
        for _ in range(15):
            network(paddle.to_tensor(normalize(images)))


def _rounded(figures: Figures) -> Figures:
    return {name: round(value, 4) for name, value in figures.items()}

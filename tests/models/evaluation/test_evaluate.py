"""Metrics of exported programs: the recipe's eval sets, the baselines, the whole pipeline, and the advised threshold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.embedder import Embedder
from models.evaluation.detection_metrics import average_precision
from models.evaluation.detector_sets import eval_pictures
from models.evaluation.eval_sets import FIRST_EVAL_SEED, evaluate, load_eval_sets, score_open_set
from models.evaluation.evaluate import (
    evaluate_detector,
    evaluate_embedder,
    evaluate_embedder_openly,
    evaluate_whole,
    suggest_similarity,
)
from models.training.data.photos import DatasetError
from models.training.recipes.detector import DetectorEvalSource, DetectorRecipe
from models.training.recipes.reading import load_recipe
from models.training.tasks.baselines import embedder_baselines
from tests.models.programs import artifact
from tests.models.training.tiny import TINY

SMALL = replace(TINY, eval=(replace(TINY.eval[0], products=4),))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("detector") / "tiny", "detect", paddle_too=False)


def test_the_exported_embedder_takes_the_eval_sets(tiny_artifact: Path) -> None:
    metrics = evaluate_embedder(tiny_artifact, SMALL, None)
    embedder = Embedder(tiny_artifact, "openvino")
    expected = evaluate(lambda images: embedder(list(images)), load_eval_sets(SMALL, None, 32))
    assert metrics == {"rendered": round(expected["rendered"], 4)}


def test_colours_and_an_untrained_network_take_them_too() -> None:
    metrics = embedder_baselines(SMALL, None)
    assert set(metrics) == {"colour histograms", "untrained network"}
    assert all(0 <= metric["rendered"] <= 1 for metric in metrics.values())


def test_a_detector_is_measured_by_its_candidates(detector: Path) -> None:
    from models.detector import Detector

    rendered = DetectorEvalSource("rendered", "scenes", count=2, first_seed=FIRST_EVAL_SEED)
    photos = DetectorEvalSource("voc", "photos", root="none")
    recipe = replace(load_recipe("detector-tiny", DetectorRecipe), eval=(rendered, photos), pool_px=64)
    metrics = evaluate_detector(detector, recipe, None)
    assert set(metrics) == {"scenes AP50", "scenes AP50:95"}
    pictures = eval_pictures(rendered, recipe, None)
    found = [Detector(detector).candidates(picture.image) for picture in pictures]
    expected = average_precision(found, [np.asarray(picture.boxes, np.float32) for picture in pictures])
    assert metrics["scenes AP50"] == round(expected["AP50"], 4)


def test_the_manifests_threshold_is_held_to_known_things_and_to_unknowns(tiny_artifact: Path) -> None:
    metrics, open_sets = evaluate_embedder_openly(tiny_artifact, SMALL, None)
    assert metrics == evaluate_embedder(tiny_artifact, SMALL, None)
    (split,) = load_eval_sets(SMALL, None, 32)
    embedder = Embedder(tiny_artifact, "openvino")
    found = score_open_set(embedder(list(split.images)), split, embedder.similarity_threshold)
    assert open_sets["rendered"]["threshold"] == 0.4
    assert open_sets["rendered"]["identification_rate"] == round(found.known, 4)
    assert open_sets["rendered"]["false_positive_identification_rate"] == round(found.unknowns, 4)


def test_the_whole_pipeline_is_measured(detector: Path, tiny_artifact: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    evaluation = evaluate_whole(
        detector, tiny_artifact, scenes=2, products=5, progress=lambda *what: reported.append(what)
    )
    assert set(evaluation.metrics) == {"found", "right"}
    assert all(0 <= value <= 1 for value in evaluation.metrics.values())
    assert reported[-1] == ("recognising", 2, 2)
    assert evaluate_whole(detector, tiny_artifact, scenes=2, products=5) == evaluation


def test_the_threshold_separates_known_things_from_unknowns_best(tiny_artifact: Path) -> None:
    threshold = suggest_similarity(tiny_artifact, SMALL)
    (split,) = load_eval_sets(SMALL, None, 32)
    rows = Embedder(tiny_artifact)(list(split.images))
    query_rows, gallery = rows[~split.gallery], rows[split.gallery]
    query_labels, gallery_labels = split.labels[~split.gallery], split.labels[split.gallery]

    def gain(least: float) -> float:
        known = unknowns = 0
        for row, label in zip(query_rows, query_labels, strict=True):
            right = max(float(row @ other) for other in gallery[gallery_labels == label])
            wrong = max(float(row @ other) for other in gallery[gallery_labels != label])
            known += right >= least and right > wrong
            unknowns += wrong >= least
        return (known - unknowns) / len(query_rows)

    assert 0 < threshold < 1
    assert gain(threshold) == pytest.approx(max(gain(least / 100) for least in range(100)))


def test_the_threshold_of_a_recipe_without_eval_sets_is_set_by_rendered_products(tiny_artifact: Path) -> None:
    assert 0 < suggest_similarity(tiny_artifact, replace(SMALL, eval=(), select_by=())) < 1


def test_boxes_that_were_not_made_yet_are_left_out_and_a_wrong_file_is_not(detector: Path, tmp_path: Path) -> None:
    rendered = DetectorEvalSource("rendered", "scenes", count=1, first_seed=FIRST_EVAL_SEED)
    made = DetectorEvalSource("coco", "shelves", file="pseudo/boxes.json", made=True)
    recipe = replace(load_recipe("detector-tiny", DetectorRecipe), eval=(rendered, made), pool_px=64)
    assert set(evaluate_detector(detector, recipe, tmp_path)) == {"scenes AP50", "scenes AP50:95"}
    with pytest.raises(DatasetError, match="no annotation file"):
        evaluate_detector(detector, replace(recipe, eval=(replace(made, made=False),)), tmp_path)

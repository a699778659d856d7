"""Figures of exported programs: the recipe's exams, the baselines, the whole pipeline, and the advised threshold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.embedder import Embedder
from models.evaluation.detection_metrics import average_precision
from models.evaluation.detector_sets import exam_pictures
from models.evaluation.eval_sets import FIRST_EXAM_SEED, examine, grade_open_set, set_exams
from models.evaluation.evaluate import (
    examine_detector,
    examine_embedder,
    examine_embedder_openly,
    examine_whole,
    suggest_similarity,
)
from models.training.data.photos import DatasetError
from models.training.recipes.detector import DetectorExam, DetectorRecipe
from models.training.recipes.embedder import load_recipe
from models.training.tasks.baselines import embedder_baselines
from tests.models.programs import artifact
from tests.models.training.tiny import TINY

SMALL = replace(TINY, exams=(replace(TINY.exams[0], products=4),))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("detector") / "tiny", "detect", paddle_too=False)


def test_the_exported_embedder_takes_the_exams(tiny_artifact: Path) -> None:
    figures = examine_embedder(tiny_artifact, SMALL, None)
    embedder = Embedder(tiny_artifact, "openvino")
    expected = examine(lambda images: embedder(list(images)), set_exams(SMALL, None, 32))
    assert figures == {"rendered": round(expected["rendered"], 4)}


def test_colours_and_an_untrained_network_take_them_too() -> None:
    figures = embedder_baselines(SMALL, None)
    assert set(figures) == {"colour histograms", "untrained network"}
    assert all(0 <= figure["rendered"] <= 1 for figure in figures.values())


def test_a_detector_is_measured_by_its_candidates(detector: Path) -> None:
    from models.detector import Detector

    drawn = DetectorExam("rendered", "scenes", count=2, first_seed=FIRST_EXAM_SEED)
    photos = DetectorExam("voc", "photos", root="none")
    recipe = replace(load_recipe("detector-tiny", DetectorRecipe), exams=(drawn, photos), pool_px=64)
    figures = examine_detector(detector, recipe, None)
    assert set(figures) == {"scenes AP50", "scenes AP50:95"}
    pictures = exam_pictures(drawn, recipe, None)
    found = [Detector(detector).candidates(picture.image) for picture in pictures]
    expected = average_precision(found, [np.asarray(picture.boxes, np.float32) for picture in pictures])
    assert figures["scenes AP50"] == round(expected["AP50"], 4)


def test_the_manifests_threshold_is_held_to_known_things_and_to_strangers(tiny_artifact: Path) -> None:
    figures, shares = examine_embedder_openly(tiny_artifact, SMALL, None)
    assert figures == examine_embedder(tiny_artifact, SMALL, None)
    (sheet,) = set_exams(SMALL, None, 32)
    embedder = Embedder(tiny_artifact, "openvino")
    found = grade_open_set(embedder(list(sheet.images)), sheet, embedder.similarity_threshold)
    assert shares["rendered"]["threshold"] == 0.4
    assert shares["rendered"]["known_answered_right"] == round(found.known, 4)
    assert shares["rendered"]["strangers_answered"] == round(found.strangers, 4)


def test_the_whole_pipeline_is_measured(detector: Path, tiny_artifact: Path) -> None:
    told: list[tuple[str, int, int]] = []
    exam = examine_whole(detector, tiny_artifact, scenes=2, products=5, tell=lambda *what: told.append(what))
    assert set(exam.figures) == {"found", "right"}
    assert all(0 <= value <= 1 for value in exam.figures.values())
    assert told[-1] == ("recognising", 2, 2)
    assert examine_whole(detector, tiny_artifact, scenes=2, products=5) == exam


def test_the_threshold_tells_known_things_from_strangers_best(tiny_artifact: Path) -> None:
    threshold = suggest_similarity(tiny_artifact, SMALL)
    (sheet,) = set_exams(SMALL, None, 32)
    rows = Embedder(tiny_artifact)(list(sheet.images))
    asked, gallery = rows[~sheet.gallery], rows[sheet.gallery]
    asked_labels, gallery_labels = sheet.labels[~sheet.gallery], sheet.labels[sheet.gallery]

    def gain(least: float) -> float:
        known = strangers = 0
        for row, label in zip(asked, asked_labels, strict=True):
            right = max(float(row @ other) for other in gallery[gallery_labels == label])
            wrong = max(float(row @ other) for other in gallery[gallery_labels != label])
            known += right >= least and right > wrong
            strangers += wrong >= least
        return (known - strangers) / len(asked)

    assert 0 < threshold < 1
    assert gain(threshold) == pytest.approx(max(gain(least / 100) for least in range(100)))


def test_the_threshold_of_a_recipe_without_exams_is_set_by_drawn_products(tiny_artifact: Path) -> None:
    assert 0 < suggest_similarity(tiny_artifact, replace(SMALL, exams=(), select_by=())) < 1


def test_boxes_that_were_not_made_yet_are_left_out_and_a_wrong_file_is_not(detector: Path, tmp_path: Path) -> None:
    drawn = DetectorExam("rendered", "scenes", count=1, first_seed=FIRST_EXAM_SEED)
    made = DetectorExam("coco", "shelves", file="pseudo/boxes.json", made=True)
    recipe = replace(load_recipe("detector-tiny", DetectorRecipe), exams=(drawn, made), pool_px=64)
    assert set(examine_detector(detector, recipe, tmp_path)) == {"scenes AP50", "scenes AP50:95"}
    with pytest.raises(DatasetError, match="no annotation file"):
        examine_detector(detector, replace(recipe, exams=(replace(made, made=False),)), tmp_path)

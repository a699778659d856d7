"""The option `boxes`: what the caller points at is looked up, and nothing is detected."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from models.options import OptionsError, RecognizeOptions
from models.recognition.pipeline import Recognizer
from tests.models.recognition.test_pipeline import (
    BLUE_BOX,
    RED_BOX,
    SCENE,
    ColorDetector,
    ColorEmbedder,
    Detected,
    Picture,
    gallery,
)


class NeverCalled:
    def __call__(self, image: Picture, threshold: float | None, max_detections: int) -> Sequence[Detected]:
        raise AssertionError("nothing is to be detected")


def test_the_boxes_of_an_answer_give_it_again_without_a_detector() -> None:
    known = gallery("red", "blue")
    detected = Recognizer(ColorDetector(), ColorEmbedder())(SCENE, known).recognitions
    boxes = [list(one.box) for one in detected]
    given = Recognizer(NeverCalled(), ColorEmbedder())(SCENE, known, RecognizeOptions(boxes=boxes))
    assert [(one.box, one.label, one.similarity, one.probability) for one in given.recognitions] == [
        (one.box, one.label, one.similarity, one.probability) for one in detected
    ]
    assert {one.source for one in given.recognitions} == {"given"}
    assert [one.confidence for one in given.recognitions] == [None, None]
    assert sorted(one.to_dict()["given"] for one in given.recognitions) == [0, 1]


def test_overlapping_ones_are_all_answered_and_the_dropped_say_which_they_were() -> None:
    boxes = [list(BLUE_BOX), list(RED_BOX), list(RED_BOX)]
    found = Recognizer(None, ColorEmbedder())(SCENE, gallery("red"), RecognizeOptions(boxes=boxes))
    assert [(one.label, one.given) for one in found.recognitions] == [("red", 1), ("red", 2)]
    (blue,) = found.dropped
    assert (blue.reason, blue.given, blue.to_dict()["given"]) == ("below_min_precision", 0, 0)


def test_what_reaches_beyond_the_photo_is_cut_and_what_is_outside_refused_by_name() -> None:
    recognizer = Recognizer(None, ColorEmbedder())
    found = recognizer(SCENE, gallery("red"), RecognizeOptions(boxes=[[-50, 20, 60, 300]]))
    assert [one.box for one in (*found.recognitions, *found.dropped)] == [(0, 20, 60, 100)]
    with pytest.raises(OptionsError, match=r"200 x 100 pixels, upright; 1: .*; 2: ") as caught:
        recognizer(SCENE, gallery("red"), RecognizeOptions(boxes=[[0, 0, 5, 5], [200, 0, 210, 9], [-9, 0, 0, 9]]))
    assert caught.value.option == "boxes"

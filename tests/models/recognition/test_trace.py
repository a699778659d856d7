"""The option `trace` reports all that was seen, and changes no answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.traces import Trace
from models.detector import Detector
from models.options import OptionsError, RecognizeOptions
from models.recognition.pipeline import Recognizer
from tests.models.programs import artifact
from tests.models.recognition.test_pipeline import SCENE, ColorDetector, ColorEmbedder, gallery


def traced(recognizer: Recognizer, image: Any, *labels: str, **options: Any) -> Trace:
    plain = recognizer(image, gallery(*labels), RecognizeOptions(**options))
    found = recognizer(image, gallery(*labels), RecognizeOptions(trace=True, **options))
    assert replace(found, timings_ms={}, trace=None) == replace(plain, timings_ms={})
    assert plain.trace is None
    assert found.trace is not None
    report = found.to_dict()["trace"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return found.trace


def test_every_part_has_its_matches_and_its_outcome() -> None:
    trace = traced(Recognizer(ColorDetector(), ColorEmbedder()), SCENE, "red", "red", "green", top_k=1)
    assert [part["outcome"] for part in trace["parts"]] == [
        "recognized",
        "below_min_precision",
        "whole_image_not_needed",
    ]
    red, blue, whole = trace["parts"]
    assert [match["item_id"] for match in red["matches"]][2:] == ["itm_2"]  # beyond top_k
    assert (red["labels"][0]["label"], red["labels"][0]["pictures"]) == ("red", 2)
    assert red["labels"][0]["verified_probability"] is None
    assert red["searched"][0] < red["box"][0]
    assert "is needed" in blue["why"]
    assert "not needed" in whole["why"]
    assert trace["thresholds"]["probability_threshold"] == 0.9
    assert trace["thresholds"]["detection_threshold"] is None  # this detector reports no candidates


@pytest.mark.parametrize(
    "options", [{}, {"detection_threshold": 0.0, "max_detections": 3}, {"detection_threshold": 0.6}]
)
def test_every_candidate_box_is_listed_with_its_reason(tmp_path: Path, options: dict[str, Any]) -> None:
    detector = Detector(artifact(tmp_path / "detector", "detect"))
    image = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    trace = traced(Recognizer(detector, ColorEmbedder()), image, "red", **options)
    boxes, scores = detector.candidates(image)
    assert len(trace["detections"]) == len(boxes) > 3
    kept = [one for one in trace["detections"] if one["reason"] is None]
    assert len(kept) == sum(part["source"] == "detection" for part in trace["parts"])
    least = options.get("detection_threshold", detector.confidence_threshold)
    for at, one in enumerate(trace["detections"]):
        if one["reason"] == "over_max_detections":
            assert at >= options.get("max_detections", 5)
        elif one["reason"] == "below_detection_threshold":
            assert scores[at] < least


def test_a_suppressed_part_says_by_what_and_an_empty_gallery_is_one() -> None:
    boxes = [[10, 20, 60, 80], [100, 10, 120, 50]]
    trace = traced(Recognizer(None, ColorEmbedder()), SCENE, boxes=boxes)
    assert [(part["outcome"], part["given"]) for part in trace["parts"]] == [("empty_gallery", 0), ("empty_gallery", 1)]
    assert trace["detections"] == []


def test_it_is_true_or_false() -> None:
    with pytest.raises(OptionsError, match="true or false"):
        RecognizeOptions(trace=1)  # type: ignore[arg-type]

"""The walk from a photo to its recognitions, with a detector and an embedder that are plain functions of the pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.galleries.store import GalleryStore, Item, item_id
from infra.objects.local import LocalStore
from models.detector import Detector
from models.embedder import Embedder
from models.errors import EngineError, GalleryError
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.calibration import Calibration
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.pictures.image import crop, whole_pixels, with_margin
from models.recognition.pipeline import Dropped, Recognition, Recognizer
from tests.models.programs import artifact
from tests.models.recognition.colors import (
    BLUE_BOX,
    FULL,
    RED_BOX,
    SCENE,
    ColorDetector,
    ColorEmbedder,
    Detected,
    Named,
    Picture,
    Rows,
    color_row,
    gallery,
    picture,
)


def test_every_known_object_is_recognised_and_every_other_has_its_reason() -> None:
    embedder = ColorEmbedder()
    found = Recognizer(ColorDetector(), embedder)(SCENE, gallery("red", "red", "green"), RecognizeOptions(top_k=2))
    (red,) = found.recognitions
    assert (red.box, red.source, red.label, len(red.matches)) == (RED_BOX, "detection", "red", 2)
    assert red.similarity == pytest.approx(1)
    assert red.confidence == pytest.approx(0.65)
    (blue,) = found.dropped  # the whole image is not listed: no fallback was needed
    assert (blue.box, blue.reason, len(blue.matches)) == (BLUE_BOX, "below_min_precision", 2)
    assert (found.width, found.height, found.reason) == (200, 100, None)
    assert embedder.batches == [3]  # all crops at once
    assert set(found.timings_ms) == {"detect", "crop", "embed", "search", "verify", "total"}
    assert found.timings_ms["total"] >= sum(ms for stage, ms in found.timings_ms.items() if stage != "total")


def test_the_result_as_json() -> None:
    reported = Recognizer(ColorDetector(), ColorEmbedder())(SCENE, gallery("red")).to_dict()
    assert json.loads(json.dumps(reported, allow_nan=False)) == reported
    match = {"label": "red", "similarity": 1.0, "item_id": "itm_0", "image_key": "images/ab/abc"}
    assert reported["image"] == {"width": 200, "height": 100}
    assert reported["recognitions"] == [
        {
            "box": list(RED_BOX),
            "confidence": 0.65,
            "source": "detection",
            "label": "red",
            "probability": 0.9758,  # logit: log 9 at the threshold of 0.9, and 15 for each 1 above
            "similarity": 1.0,
            "verification": None,
            "candidates": [{**match, "probability": 0.9758}],
            "matches": [match],
        }
    ]
    assert reported["decision"] == {
        "min_precision": 0.9,
        "probability_threshold": 0.9,
        "similarity_threshold": None,
        "calibration": "embedder",
        "calibration_queries": 0,
        "verify": "auto",
        "verified": 0,
    }
    (dropped,) = reported["dropped"]
    assert dropped["reason"] == "below_min_precision"
    (guess,) = dropped["candidates"]  # what a person may confirm
    assert (guess["label"], guess["item_id"]) == ("red", "itm_0")
    assert guess["probability"] < 0.9
    assert dropped["box"] == list(BLUE_BOX)
    assert reported["reason"] is None


def test_the_options_reach_their_stages() -> None:
    recognizer = Recognizer(ColorDetector(), ColorEmbedder())
    both = gallery("red", "blue")
    assert [one.label for one in recognizer(SCENE, both).recognitions] == ["red", "blue"]
    assert [one.label for one in recognizer(SCENE, both, RecognizeOptions(max_detections=1)).recognitions] == ["red"]
    sure = RecognizeOptions(detection_threshold=0.6)
    assert [one.label for one in recognizer(SCENE, both, sure).recognitions] == ["red"]
    assert not recognizer(SCENE, both, RecognizeOptions(detection_threshold=1, whole_image="never")).recognitions
    assert len(recognizer(SCENE, gallery("red"), RecognizeOptions(similarity_threshold=-1)).recognitions) == 2
    assert len(recognizer(SCENE, both, RecognizeOptions(top_k=1)).recognitions[0].matches) == 1


def test_a_lower_precision_answers_more_and_a_similarity_decides_alone() -> None:
    recognizer = Recognizer(ColorDetector([Detected((5, 15, 62, 82), 0.9), Detected(BLUE_BOX, 0.8)]), ColorEmbedder())
    known = gallery("red", "yellow")  # red with a grey edge is less than sure; blue is far from both
    counts = []
    for precision in (0.999, 0.95, 0.5):
        found = recognizer(SCENE, known, RecognizeOptions(min_precision=precision, whole_image="never"))
        counts.append(len(found.recognitions))
        assert {one.reason for one in found.dropped} <= {"below_min_precision"}
    assert counts == sorted(counts)
    by_similarity = RecognizeOptions(min_precision=0.999, similarity_threshold=0.9, whole_image="never")
    found = recognizer(SCENE, known, by_similarity)
    assert [one.label for one in found.recognitions] == ["red"]
    assert [one.reason for one in found.dropped] == ["below_similarity_threshold"]
    assert found.decision is not None
    assert (found.decision.min_precision, found.decision.probability_threshold) == (None, None)
    assert found.decision.similarity_threshold == 0.9


def test_the_gallerys_own_calibration_comes_before_the_embedders() -> None:
    class Sure(ColorEmbedder):
        calibration = Calibration("embedder", (5.0, 0.0, 0.0, 0.0))

    doubtful = Calibration("gallery", (-5.0, 0.0, 0.0, 0.0), queries=40)
    for own, source, answers in ((None, "embedder", 1), (doubtful, "gallery", 0)):
        known = Gallery([Named("itm_0", "red")], color_row("red")[None], "colors", 3, own)
        found = Recognizer(None, Sure())(FULL, known)
        assert found.decision is not None
        assert (found.decision.calibration, len(found.recognitions)) == (source, answers)


def test_nothing_is_calibrated_on_estimates_from_codes() -> None:
    class Wide(ColorEmbedder):
        """Eight dimensions: codes have whole bytes."""

        dim = 8

        def __call__(self, crops: Sequence[Picture]) -> Rows:
            return np.pad(super().__call__(crops), ((0, 0), (0, 5)))

    items, rows = [Named("itm_0", "red")], np.pad(color_row("red")[None], ((0, 0), (0, 5)))
    recognizer = Recognizer(ColorDetector(), Wide())
    own = Calibration("gallery", (9.0, 9.0, 0.0, 0.0), queries=20)
    for rerank, reported in ((0, "uncalibrated"), (1, "gallery")):
        known = BinaryGallery(items, rows, calibration=own, rerank=rerank)
        decision = recognizer(FULL, known).to_dict()["decision"]
        assert decision["calibration"] == reported


def test_several_pictures_of_a_label_count_together() -> None:
    # The query is nearest to a single odd picture of "wrong", but far more like the pictures of "right" together.
    rows = np.array([[1, 0.10, 0], [1, 0, 0.5], [1, -0.4, -0.3], [1, 0.4, -0.3], [0, 1, 0], [0, 1, 0.1]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = ["wrong", "right", "right", "right", "wrong", "wrong"]
    known = Gallery([Named(str(at), label) for at, label in enumerate(labels)], rows)
    (found,) = known.search_labels(np.array([[1, 0, 0]], np.float32), 2)
    assert found.matches[0].item.label == "wrong"
    assert [one.label for one in found.labels] == ["right", "wrong"]


def test_nothing_is_never_silent() -> None:
    recognizer = Recognizer(ColorDetector(), ColorEmbedder())
    empty = recognizer(SCENE, gallery())
    assert empty.reason == "empty_gallery"
    assert {one.reason for one in empty.dropped} == {"empty_gallery"}
    assert len(empty.dropped) == 3
    unknown = recognizer(SCENE, gallery("green"))
    assert unknown.reason == "nothing_recognized"
    assert [one.source for one in unknown.dropped] == ["detection", "detection", "whole_image"]
    nothing = recognizer(picture(), gallery("red"), RecognizeOptions(whole_image="never"))
    assert (nothing.reason, nothing.recognitions, nothing.dropped) == ("nothing_detected", (), ())


def test_a_crop_without_embedding_costs_only_itself() -> None:
    grey = Detected((150, 50, 190, 90), 0.99)
    red = Detected(RED_BOX, 0.9)
    found = Recognizer(ColorDetector([grey, red]), ColorEmbedder())(SCENE, gallery("red"))
    assert [one.label for one in found.recognitions] == ["red"]
    assert [(one.box, one.reason, one.matches) for one in found.dropped] == [
        ((150, 50, 190, 90), "invalid_embedding", ())
    ]
    alone = Recognizer(None, ColorEmbedder())(picture(), gallery("red"))
    assert [one.reason for one in alone.dropped] == ["invalid_embedding"]
    assert alone.reason == "nothing_recognized"


def test_other_trouble_of_the_embedder_is_not_hidden() -> None:
    class Broken(ColorEmbedder):
        def __call__(self, crops: Sequence[Picture]) -> Rows:
            raise EngineError("no engine")

    with pytest.raises(EngineError):
        Recognizer(None, Broken())(SCENE, gallery("red"))


def test_a_gallery_of_another_dimension_is_refused() -> None:
    other = Gallery([Named("itm_0", "red")], np.ones((1, 5), np.float32))
    with pytest.raises(GalleryError):
        Recognizer(ColorDetector(), ColorEmbedder())(SCENE, other)


@given(st.tuples(*[st.floats(-50, 300, allow_nan=False)] * 4), st.integers(1, 100), st.integers(1, 200))
def test_boxes_become_whole_pixels_of_the_image(box: tuple[float, ...], height: int, width: int) -> None:
    x1, y1, x2, y2 = whole_pixels(box, height, width)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
    if inside and int(box[0]) < int(box[2]) and int(box[1]) < int(box[3]):
        assert (x1, y1, x2, y2) == tuple(int(side) for side in box)


def test_what_is_embedded_of_a_box_has_a_margin_within_the_image() -> None:
    assert with_margin((100, 100, 200, 300), 1000, 1000) == (94, 88, 206, 312)
    assert with_margin((0, 0, 50, 40), 40, 50) == (0, 0, 50, 40)
    seen: list[tuple[int, ...]] = []

    class Sizes(ColorEmbedder):
        def __call__(self, crops: Sequence[Picture]) -> Rows:
            seen.extend(crop.shape[:2] for crop in crops)
            return super().__call__(crops)

    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9)]), Sizes())
    found = recognizer(SCENE, gallery("red"), RecognizeOptions(whole_image="never"))
    assert found.recognitions[0].box == RED_BOX  # what is reported is the detector's
    recognizer(SCENE, gallery("red"), RecognizeOptions(compat="paddleclas"))
    assert seen == [(67, 56), (60, 50), (100, 200)]  # PaddleClas has no margin


def test_the_walk_with_a_real_detector_embedder_and_stored_gallery(tmp_path: Path) -> None:
    detector = Detector(artifact(tmp_path / "detector", "detect"))
    embedder = Embedder(artifact(tmp_path / "embedder", "embed"))
    image = np.random.default_rng(2).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    (detection,) = detector(image, 0, 1)
    box = whole_pixels(detection.box, 90, 120)
    whole = item_id("1" * 64, "body", box), item_id("2" * 64, "whole")
    items = [
        Item(whole[0], "body", "images/11/1", "1" * 64, box, "2026-01-01T00:00:00Z"),
        Item(whole[1], "whole", "images/22/2", "2" * 64, None, "2026-01-01T00:00:00Z"),
    ]
    store = GalleryStore(LocalStore(tmp_path / "objects"))
    store.create("g")
    store.add("g", items, embedder([crop(image, with_margin(box, 90, 120)), image]), embedder.digest)
    manifest, stored, embeddings = store.load("g")
    options = RecognizeOptions(
        detection_threshold=0, max_detections=1, similarity_threshold=0.999, whole_image="always"
    )
    found = Recognizer(detector, embedder)(image, Gallery(stored, embeddings, "g", manifest.version), options)
    every: list[Recognition | Dropped] = [*found.recognitions, *found.dropped]
    first = {one.source: one for one in every}
    assert (first["detection"].box, first["whole_image"].box) == (box, (0, 0, 120, 90))
    assert [first["detection"].matches[0].item, first["whole_image"].matches[0].item] == items
    assert found.recognitions[0].similarity == pytest.approx(1, abs=1e-5)
    assert found.recognitions[0].to_dict()["matches"][0]["image_key"].startswith("images/")

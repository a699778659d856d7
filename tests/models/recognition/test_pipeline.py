"""The walk from a photo to its recognitions, with a detector and an embedder that are plain functions of the pixels.

What `compat` promises is compared with a transcription of PP-ShiTu's rules from their description.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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
from tests.models.overlaps import overlap
from tests.models.programs import artifact

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
GREY = 128
Picture = NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Detected:
    box: tuple[float, float, float, float]
    confidence: float


@dataclass(frozen=True)
class Named:
    id: str
    label: str
    image_key: str = "images/ab/abc"


class ColorDetector:
    """Finds the rectangle of each pure colour; the larger, the surer. With `given`, just those boxes."""

    def __init__(self, given: Sequence[Detected] | None = None) -> None:
        self._given = given

    def __call__(self, image: Picture, threshold: float | None, max_detections: int) -> Sequence[Detected]:
        detections = self._given
        if detections is None:
            detections = []
            for color in COLORS.values():
                rows, columns = np.nonzero((image == color).all(axis=2))
                if rows.size:
                    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                    fraction = rows.size / (image.shape[0] * image.shape[1])
                    detections.append(
                        Detected((box[0] + 0.4, box[1] + 0.9, box[2] + 0.6, box[3] + 0.1), min(0.5 + fraction, 1.0))
                    )
        best = sorted(detections, key=lambda detection: -detection.confidence)[:max_detections]
        return [detection for detection in best if detection.confidence >= (0.2 if threshold is None else threshold)]


class ColorEmbedder:
    """The mean colour, apart from grey, as a unit vector; plain grey has none, as a dead network's zeros have none."""

    name, digest, dim, similarity_threshold = "colors", "c" * 64, 3, 0.9

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, crops: Sequence[Picture]) -> Rows:
        self.batches.append(len(crops))
        rows = np.stack([crop.reshape(-1, 3).mean(axis=0) - GREY for crop in crops])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if (norms < 1e-9).any():
            raise EngineError("not finite", "embedding_invalid")
        return np.asarray(rows / norms, np.float32)


def color_row(name: str) -> Rows:
    row = np.array(COLORS[name], float) - GREY
    return np.asarray(row / np.linalg.norm(row), np.float32)


def gallery(*names: str) -> Gallery:
    items = [Named(f"itm_{position}", name) for position, name in enumerate(names)]
    rows = np.stack([color_row(name) for name in names]) if names else np.empty((0, 0), np.float32)
    return Gallery(items, rows, "colors", 3)


def picture(**rectangles: tuple[int, int, int, int]) -> Picture:
    image = np.full((100, 200, 3), GREY, np.uint8)
    for name, (x1, y1, x2, y2) in rectangles.items():
        image[y1:y2, x1:x2] = COLORS[name]
    return image


RED_BOX, BLUE_BOX = (10, 20, 60, 80), (100, 10, 120, 50)
SCENE = picture(red=RED_BOX, blue=BLUE_BOX)


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


# The whole image

FULL = picture(red=(0, 0, 200, 100))
MOSTLY_RED = picture(red=(0, 0, 200, 95))  # the whole image is nearly as red as its object


@pytest.mark.parametrize(("policy", "sources"), [("always", 2), ("fallback", 1), ("never", 1)])
def test_the_policy_with_a_recognised_detection(policy: str, sources: int) -> None:
    small = Detected((0, 0, 20, 10), 0.9)  # its fraction of the picture, 1 %, is its overlap with the whole
    options = RecognizeOptions.from_dict({"whole_image": policy})
    found = Recognizer(ColorDetector([small]), ColorEmbedder())(FULL, gallery("red"), options)
    assert [one.source for one in found.recognitions] == ["detection", "whole_image"][:sources]
    assert not found.dropped


@pytest.mark.parametrize(("policy", "recognised"), [("always", True), ("fallback", True), ("never", False)])
def test_the_policy_without_a_recognised_detection(policy: str, recognised: bool) -> None:
    options = RecognizeOptions.from_dict({"whole_image": policy})
    for detections in ([], [Detected(BLUE_BOX, 0.9)]):
        image = picture(red=(0, 0, 200, 100), blue=BLUE_BOX)
        found = Recognizer(ColorDetector(detections), ColorEmbedder())(image, gallery("red"), options)
        assert [one.source for one in found.recognitions] == (["whole_image"] if recognised else [])
        if recognised:
            assert found.recognitions[0].box == (0, 0, 200, 100)
            assert found.recognitions[0].confidence is None


def test_without_a_detector_the_whole_image_is_the_region() -> None:
    for policy in ("always", "fallback", "never"):
        found = Recognizer(None, ColorEmbedder())(
            FULL, gallery("red"), RecognizeOptions.from_dict({"whole_image": policy})
        )
        assert [one.box for one in found.recognitions] == [(0, 0, 200, 100)]


def test_the_whole_image_never_removes_a_detection() -> None:
    # Users of PaddleClas lose the right detection to the whole image: here it scores better, and there it does.
    detection = Detected(
        (0, 0, 200, 88), 0.9
    )  # even with its margin a little less red than the whole, which it overlaps nearly whole
    image = FULL.copy()
    image[80:88, :] = (255, 30, 30)
    recognizer = Recognizer(ColorDetector([detection]), ColorEmbedder())
    ours = recognizer(image, gallery("red"), RecognizeOptions(whole_image="always"))
    assert [one.source for one in ours.recognitions] == ["whole_image", "detection"]
    theirs = recognizer(image, gallery("red"), RecognizeOptions(compat="paddleclas"))
    assert [one.source for one in theirs.recognitions] == ["whole_image"]
    (lost,) = theirs.dropped
    assert (lost.reason, lost.suppressed_by) == ("suppressed", (0, 0, 200, 100))
    assert lost.to_dict()["suppressed_by"] == [0, 0, 200, 100]


def test_a_better_detection_removes_the_whole_image() -> None:
    recognizer = Recognizer(ColorDetector([Detected((0, 0, 200, 95), 0.9)]), ColorEmbedder())
    found = recognizer(MOSTLY_RED, gallery("red"), RecognizeOptions(whole_image="always"))
    assert [one.source for one in found.recognitions] == ["detection"]
    assert [(one.source, one.reason) for one in found.dropped] == [("whole_image", "suppressed")]


def test_a_piece_is_no_answer_where_the_whole_photo_looks_like_another_label() -> None:
    class Heap(ColorEmbedder):
        """Whole photos are blue, however red their pieces are."""

        def __call__(self, crops: Sequence[Picture]) -> Rows:
            rows = super().__call__(crops)
            for row, pixels in zip(rows, crops, strict=True):
                if pixels.shape[:2] == (100, 200):
                    row[:] = color_row("blue")
            return rows

    pieces = [Detected((10, 10, 40, 40), 0.9), Detected((100, 10, 130, 40), 0.8)]
    heap, known = Recognizer(ColorDetector(pieces), Heap()), gallery("red", "blue")
    found = heap(FULL, known)
    assert [(one.label, one.source) for one in found.recognitions] == [("blue", "whole_image")]
    assert [(one.reason, one.candidates[0].label) for one in found.dropped] == [("unlike_whole_image", "red")] * 2
    # One detection alone is what the photo is of; a large one is no piece; and the label of the whole may be that of a detection.
    for detections in (pieces[:1], [Detected((0, 0, 90, 100), 0.9), Detected((110, 0, 200, 100), 0.8)]):
        found = Recognizer(ColorDetector(detections), Heap())(FULL, known)
        assert [(one.label, one.source) for one in found.recognitions] == [("red", "detection")] * len(detections)
    scene = picture(red=(0, 0, 200, 100), blue=(100, 10, 130, 40))
    assert sorted(one.label for one in heap(scene, known).recognitions) == ["blue", "red"]
    # Who sets a similarity alone, or never for the whole photo, gets that.
    for options in (RecognizeOptions(similarity_threshold=0.5), RecognizeOptions(whole_image="never")):
        assert {one.label for one in heap(FULL, known, options).recognitions} == {"red"}


# PaddleClas


def pp_shitu(
    image: Picture, detections: Sequence[Detected], embedder: ColorEmbedder, known: Gallery, rec: float, nms: float
) -> list[tuple[list[int], str, float]]:
    """PP-ShiTu's steps one by one, as they are described: whole image always, top-1, threshold, suppression by score."""
    height, width = image.shape[:2]
    results: list[tuple[list[int], str, float]] = []
    for box in [*(detection.box for detection in detections), (0, 0, width, height)]:
        x1, y1, x2, y2 = (int(side) for side in box)
        (row,) = embedder([image[y1:y2, x1:x2]])
        match = known.search(row[None], 5)[0][0]
        if match.similarity >= rec:
            results.append(([x1, y1, x2, y2], match.item.label, match.similarity))
    results.sort(key=lambda result: -result[2])
    kept: list[tuple[list[int], str, float]] = []
    while results:
        first, *results = results
        kept.append(first)
        results = [result for result in results if overlap(first[0], result[0]) <= nms]
    return kept


@settings(max_examples=100, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_compat_gives_what_pp_shitu_gives(data: st.DataObject, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    for name in data.draw(st.lists(st.sampled_from(sorted(COLORS)), max_size=4)):
        x1, y1 = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 30))
        image[y1 : y1 + data.draw(st.integers(3, 30)), x1 : x1 + data.draw(st.integers(3, 30))] = COLORS[name]
    side = st.floats(0.5, 20, allow_nan=False)
    detections = [
        Detected((x, y, min(x + w + 1, 50), min(y + h + 1, 40)), 0.9 - position / 100)
        for position, (x, y, w, h) in enumerate(data.draw(st.lists(st.tuples(side, side, side, side), max_size=5)))
    ]
    rec, nms = data.draw(st.sampled_from([0.3, 0.7, 0.9])), data.draw(st.sampled_from([0.05, 0.4]))
    known = gallery(*sorted(COLORS))
    options = RecognizeOptions(similarity_threshold=rec, suppression_iou=nms, compat="paddleclas", whole_image="never")
    found = Recognizer(ColorDetector(detections), ColorEmbedder())(image, known, options)
    expected = pp_shitu(image, detections, ColorEmbedder(), known, rec, nms)
    got = [(list(one.box), one.label, one.similarity) for one in found.recognitions]
    assert [result[:2] for result in got] == [result[:2] for result in expected]
    np.testing.assert_allclose([result[2] for result in got], [result[2] for result in expected], rtol=1e-6)
    assert all(len(one.matches) == 1 for one in found.recognitions)


# Boxes


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


# The real parts


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

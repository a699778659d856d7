"""The whole image as one region more: when it is answered, and what it removes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from models.options import RecognizeOptions
from models.recognition.pipeline import Recognizer
from tests.models.recognition.colors import (
    BLUE_BOX,
    FULL,
    MOSTLY_RED,
    ColorDetector,
    ColorEmbedder,
    Detected,
    Picture,
    Rows,
    color_row,
    gallery,
    picture,
)


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

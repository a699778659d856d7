"""Verification: which parts are looked at twice, what that changes, and the evidence; by a verifier of the tests' own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.galleries.calibration import Calibration
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.pictures.image import with_margin
from models.recognition import second_look
from models.recognition.pipeline import Recognizer
from models.recognition.results import CANDIDATES
from tests.models.recognition.test_pipeline import (
    BLUE_BOX,
    RED_BOX,
    SCENE,
    ColorDetector,
    ColorEmbedder,
    Detected,
    Named,
    Picture,
    Rows,
)

DOUBT = Calibration("embedder", (0.0, 4.0, 4.0, 0.0))
FITTED = (0.8, -1.0, 1.6, -0.3)


class Embedder(ColorEmbedder):
    calibration = DOUBT


@dataclass(frozen=True)
class Agreement:
    inliers: int
    query_points: NDArray[np.float32]
    item_points: NDArray[np.float32]


class Verifier:
    """Records what it is called with; an item's features are as many as its inliers, and one more."""

    def __init__(self, query: str = "query") -> None:
        self.query = query
        self.described: list[tuple[int, ...]] = []
        self.requested: list[int] = []

    def describe(self, image: Picture, /) -> str:
        self.described.append(image.shape[:2])
        return self.query

    def agree(self, query: Any, item: range, /) -> Agreement:
        assert query == self.query
        inliers = item[-1]
        self.requested.append(inliers)
        points = np.tile(np.array([[0.5, 0.25]], np.float32), (inliers, 1))
        return Agreement(inliers, points, points / 2)


def unit(*rows: tuple[float, float, float]) -> Rows:
    made = np.array(rows, np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


# Red's embedding is (127, -128, -128): the first item is nearest, the second close, the third far.
ROWS = unit((1, -1, -0.8), (1, -1, -0.7), (-1, 1, 1))
INLIERS = {"near": 0, "close": 20, "far": 2}


def known(inliers: dict[str, int]) -> Gallery:
    items = [Named(name, name) for name in ("near", "close", "far")]
    features = {name: range(count + 1) for name, count in inliers.items()}
    return Gallery(items, ROWS, "colors", 1, None, features.get)


def recognize(inliers: dict[str, int], verifier: Verifier | None, **options: Any) -> dict[str, Any]:
    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9)]), Embedder(), verifier)
    chosen = RecognizeOptions.from_dict({"min_precision": 0.5, "whole_image": "never", **options})
    return recognizer(SCENE, known(inliers), chosen).to_dict()


def test_agreeing_features_turn_close_labels_and_are_evidence() -> None:
    (before,) = recognize(INLIERS, None)["recognitions"]
    assert (before["label"], before["verification"]) == ("near", None)
    answer = recognize(INLIERS, Verifier())
    (after,) = answer["recognitions"]
    assert after["label"] == "close"
    assert after["probability"] > before["probability"]
    assert [one["item_id"] for one in after["matches"]] == ["near", "close", "far"]  # the nearest stay the nearest
    assert (after["verification"]["inliers"], after["verification"]["item_id"]) == (20, "close")
    x1, y1, x2, y2 = with_margin(RED_BOX, 100, 200)  # what was compared
    expected = [(x1 + 0.5 * (x2 - x1)) / 200, (y1 + 0.25 * (y2 - y1)) / 100, 0.25, 0.125]
    assert len(after["verification"]["points"]) == 20
    np.testing.assert_allclose(after["verification"]["points"][0], expected, atol=1e-4)
    assert answer["decision"]["verified"] == 1
    assert sum(one["probability"] for one in after["candidates"]) <= 1 + 1e-3


def test_what_agrees_is_given_for_what_is_not_sure_enough_too() -> None:
    answer = recognize(INLIERS, Verifier(), min_precision=0.999)
    (dropped,) = answer["dropped"]
    assert dropped["reason"] == "below_min_precision"
    assert (dropped["verification"]["inliers"], dropped["verification"]["item_id"]) == (20, "close")
    assert len(dropped["verification"]["points"]) == 20
    (unseen,) = recognize(INLIERS, None, min_precision=0.999)["dropped"]
    assert unseen["verification"] is None


def test_what_agrees_is_given_for_what_is_suppressed_too() -> None:
    detector = ColorDetector([Detected(RED_BOX, 0.9), Detected(RED_BOX, 0.8)])
    chosen = RecognizeOptions(min_precision=0.5, verify="always", whole_image="never")
    answer = Recognizer(detector, Embedder(), Verifier())(SCENE, known(INLIERS), chosen).to_dict()
    (dropped,) = answer["dropped"]
    assert (dropped["reason"], dropped["verification"]["inliers"]) == ("suppressed", 20)


@dataclass(frozen=True)
class Enrolled:
    """An item of which a part of the picture was enrolled."""

    id: str
    label: str
    box: tuple[int, int, int, int]


def test_the_part_of_the_items_picture_that_agrees_is_given() -> None:
    gallery = Gallery([Enrolled("a", "cola", (1, 2, 30, 40))], ROWS[:1], features=lambda _: range(21))
    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9)]), Embedder(), Verifier())
    chosen = RecognizeOptions(min_precision=0.5, verify="always", whole_image="never")
    (found,) = recognizer(SCENE, gallery, chosen).to_dict()["recognitions"]
    assert found["verification"]["item_box"] == [1, 2, 30, 40]


def test_always_has_a_budget_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "ALWAYS_BUDGET_MS", 0.0)
    verifier = Verifier()
    answer = recognize(INLIERS, verifier, verify="always")
    assert verifier.requested == []
    assert answer["decision"]["verified"] == 0
    assert answer["recognitions"]


def test_work_that_is_to_end_ends_before_the_next_item() -> None:
    class Canceled(Exception):  # noqa: N818
        pass

    verifier = Verifier()

    def checkpoint() -> None:
        if verifier.requested:
            raise Canceled

    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9)]), Embedder(), verifier)
    with pytest.raises(Canceled):
        recognizer(SCENE, known(INLIERS), RecognizeOptions(verify="always"), checkpoint)
    assert len(verifier.requested) == 1


def test_at_most_thirty_pairs_are_listed() -> None:
    (found,) = recognize({"close": 90}, Verifier())["recognitions"]
    assert found["verification"]["inliers"] == 90
    assert len(found["verification"]["points"]) == 30


def test_nothing_agrees_is_evidence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Embedder, "calibration", replace(DOUBT, verified=FITTED))
    (plain,) = recognize({}, None)["recognitions"]
    (found,) = recognize({"near": 0, "close": 0}, Verifier())["recognitions"]
    assert found["label"] == "near"
    assert found["verification"] == {"inliers": 0, "item_id": None, "points": [], "item_box": None}
    assert found["probability"] < plain["probability"]


def test_items_without_features_are_skipped() -> None:
    verifier = Verifier()
    answer = recognize({"far": 30}, verifier)
    assert verifier.requested == [30]
    none = Verifier()
    answer = recognize({}, none)
    assert (none.described, none.requested, answer["decision"]["verified"]) == ([], [], 0)


def test_a_label_that_was_not_compared_stays_as_likely_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Embedder, "calibration", replace(DOUBT, verified=FITTED))
    (plain,) = recognize({}, None)["recognitions"]
    answer = recognize({"far": 0}, Verifier())
    (found,) = answer["recognitions"]
    assert (found["label"], found["verification"]) == ("near", None)
    assert found["probability"] == plain["probability"]
    assert answer["decision"]["verified"] == 1


@pytest.mark.parametrize("empty", ["query", "items"])
def test_a_picture_without_a_feature_is_not_compared(empty: str) -> None:
    (plain,) = recognize({}, None)["recognitions"]
    verifier = Verifier("" if empty == "query" else "query")
    answer = recognize(dict.fromkeys(INLIERS, -1 if empty == "items" else 9), verifier)
    (found,) = answer["recognitions"]
    assert (verifier.requested, answer["decision"]["verified"], found["verification"]) == ([], 0, None)
    assert found["probability"] == plain["probability"]


@pytest.mark.parametrize(("way", "verified"), [("auto", 0), ("always", 1), ("never", 0)])
def test_what_is_sure_is_looked_at_only_when_always(way: str, verified: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Embedder, "calibration", Calibration("embedder", (6.0, 0.0, 0.0, 0.0)))
    monkeypatch.setattr(second_look, "CLOSE", 0.0)
    verifier = Verifier()
    assert recognize(INLIERS, verifier, verify=way)["decision"]["verified"] == verified
    assert len(verifier.described) == verified


def test_close_labels_and_the_uncertain_band_are_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    for logit, near, doubted in ((6.0, True, 1), (6.0, False, 0), (1.0, False, 1), (-6.0, True, 0)):
        monkeypatch.setattr(Embedder, "calibration", Calibration("embedder", (logit, 0.0, 0.0, 0.0)))
        monkeypatch.setattr(second_look, "CLOSE", 0.5 if near else 0.0)
        assert recognize(INLIERS, Verifier())["decision"]["verified"] == doubted


def test_so_many_items_are_compared_the_first_two_labels_among_them() -> None:
    items = [*[Named(f"a{at}", "a") for at in range(5)], Named("b", "b")]
    rows = unit(*[(1, -1, -0.9 - at / 100) for at in range(5)], (1, -1, -0.5))
    requested: list[str] = []

    def features(item_id: str) -> range:
        requested.append(item_id)
        return range(1)

    gallery = Gallery(items, rows, "colors", 1, None, features)
    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9)]), Embedder(), Verifier())
    recognizer(SCENE, gallery, RecognizeOptions(verify="always", verify_top=3, top_k=1, whole_image="never"))
    assert len(requested) == 3
    assert "b" in requested


def test_a_label_beyond_the_fifth_can_win_if_so_many_are_compared() -> None:
    names = "abcdefgh"
    rows = unit(*[(1, -1, -0.9 + at / 50) for at in range(len(names))])
    features = {name: range(31 if name == "h" else 1) for name in names}
    gallery = Gallery([Named(name, name) for name in names], rows, "colors", 1, None, features.get)
    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9)]), Embedder(), Verifier())
    options = RecognizeOptions(min_precision=0.5, verify="always", verify_top=8, top_k=2, whole_image="never")
    (found,) = recognizer(SCENE, gallery, options).recognitions
    assert found.label == "h"
    assert len(found.candidates) == CANDIDATES
    (few,) = recognizer(SCENE, gallery, replace(options, verify_top=5)).recognitions
    assert few.label != "h"


def test_the_budget_ends_looking_but_not_when_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "BUDGET_MS", 0.0)
    assert recognize(INLIERS, Verifier())["decision"]["verified"] == 0
    assert recognize(INLIERS, Verifier(), verify="always")["decision"]["verified"] == 1


def test_no_further_item_is_begun_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(second_look.time, "perf_counter", lambda: now[0])

    class Slow(Verifier):
        def agree(self, query: Any, item: range, /) -> Agreement:
            now[0] += 0.1  # of 0.15 seconds
            return super().agree(query, item)

    verifier = Slow()
    answer = recognize(INLIERS, verifier)
    assert verifier.requested == [0, 20]
    assert answer["recognitions"][0]["label"] == "close"
    always = Slow()
    recognize(INLIERS, always, verify="always")
    assert len(always.requested) == 3


def test_paddleclas_way_verifies_nothing_and_takes_the_nearest_item() -> None:
    verifier = Verifier()
    recognizer = Recognizer(ColorDetector([Detected(RED_BOX, 0.9), Detected(BLUE_BOX, 0.8)]), Embedder(), verifier)
    found = recognizer(SCENE, known(INLIERS), RecognizeOptions(compat="paddleclas", verify="always"))
    assert not verifier.described
    assert found.decision is not None
    assert (found.decision.similarity_threshold, found.decision.min_precision, found.decision.verify) == (
        0.9,
        None,
        "never",
    )
    assert found.recognitions[0].label == "near"

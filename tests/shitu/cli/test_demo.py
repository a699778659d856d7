"""The demo believes nothing: each product has its outcome, eleven of twelve must be right, and unsigned webhooks are refused."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from standardwebhooks import Webhook

from models.synth.designs import design_product
from models.synth.scenes import Scene
from shitu.cli import demo as demo_module
from shitu.cli.demo import DATA, PHOTOS, PRODUCTS_OF_A_PHOTO, Receiver, draw_scenes, make_room
from shitu.cli.demo_correction import Correction, report
from shitu.cli.demo_report import (
    LEAST_RIGHT,
    MISSED_COLOUR,
    Answer,
    Kind,
    Outcome,
    guesses,
    machinery_faults,
    outcomes,
    overlap,
    picture,
    shortfall,
    strays,
    summary,
)  # fmt: skip

RIGHT: Kind = "right"
SCENE = Scene(
    np.zeros((100, 100, 3), np.uint8), np.array([[10, 10, 40, 50], [60, 20, 90, 80]], np.float32), ("cola", "tea")
)
JOB: dict[str, Any] = {
    "id": "rec_1",
    "request": {"image": {"name": "photo-0.png"}},
    "result": {"recognitions": [{"box": [12, 10, 40, 50], "label": "cola"}, {"box": [60, 20, 88, 80], "label": "tea"}]},
}


def answer(**changes: Any) -> Answer:
    job = copy.deepcopy(JOB)
    job["result"].update(changes)
    return Answer(SCENE, job, {"data": copy.deepcopy(job)})


def kinds(report: Answer) -> list[tuple[str, str]]:
    return [(outcome.label, outcome.kind) for outcome in outcomes(report)]


def test_each_product_has_its_outcome() -> None:
    cola, tea = JOB["result"]["recognitions"]
    assert kinds(answer()) == [("cola", "right"), ("tea", "right")]
    assert kinds(answer(recognitions=[])) == [("cola", "missed"), ("tea", "missed")]
    assert kinds(answer(recognitions=[tea, {**cola, "label": "milk"}])) == [("cola", "wrong"), ("tea", "right")]
    dropped = {"box": [60, 20, 88, 80], "confidence": 0.7, "reason": "below_similarity_threshold", "matches": []}
    report = answer(recognitions=[cola], dropped=[dropped])
    assert kinds(report) == [("cola", "right"), ("tea", "unsure")]
    assert outcomes(report)[1].detection == dropped
    assert kinds(answer(recognitions=[cola], dropped=[{**dropped, "box": [0, 0, 99, 99]}]))[1] == ("tea", "missed")


def test_an_answer_is_for_one_product_only() -> None:
    scene = Scene(SCENE.image, np.array([[10, 10, 40, 50], [12, 10, 42, 50]], np.float32), ("cola", "cola"))
    report = Answer(scene, answer(recognitions=JOB["result"]["recognitions"][:1]).job, {})
    assert [outcome.kind for outcome in outcomes(report)] == ["right", "missed"]


def test_an_answer_where_no_product_is_is_reported() -> None:
    odd = {"box": [0, 90, 9, 99], "label": "milk"}
    report = answer(recognitions=[*JOB["result"]["recognitions"], odd])
    assert strays(report) == [odd]
    assert strays(answer()) == []


def test_a_webhook_must_say_what_the_poll_says() -> None:
    assert machinery_faults([answer()]) == []
    otherwise = Answer(SCENE, JOB, {"data": {**JOB, "result": {"recognitions": []}}})
    assert machinery_faults([answer(), otherwise], ["bad signature"]) == [
        "photo-0.png: the webhook has another result than the poll",
        "a webhook was refused: bad signature",
    ]


def found(right: int, *others: Kind) -> list[Outcome]:
    return [Outcome("photo-0.png", "cola", (0, 0, 9, 9), kind, None) for kind in (*[RIGHT] * right, *others)]


def test_eleven_of_twelve_are_enough_and_ten_are_not() -> None:
    assert shortfall(found(12), []) == []
    assert shortfall(found(11, "wrong"), []) == []
    assert shortfall(found(10, "missed", "unsure"), []) == ["10 of 12 products are right; it takes 11"]


def test_no_number_of_right_answers_makes_up_for_a_fault_of_the_machinery() -> None:
    assert shortfall(found(12), ["a webhook was refused: bad signature"]) == ["a webhook was refused: bad signature"]


def test_the_summary_counts_every_kind() -> None:
    assert summary(found(12)) == "12 of 12 products right"
    report = summary(found(9, "wrong", "missed", "unsure"))
    assert report == "9 of 12 products right, 1 taken for another, 1 without an answer, 1 not found"


def test_the_scenes_are_the_same_at_every_call_and_hold_twelve_products() -> None:
    products = [(f"{seed}", design_product(seed)) for seed in range(0, 120, 12)]
    scenes = draw_scenes(products)
    assert [len(set(scene.labels)) for scene in scenes] == [PRODUCTS_OF_A_PHOTO] * PHOTOS
    assert sum(len(scene.labels) for scene in scenes) == LEAST_RIGHT + 1
    for scene, again in zip(scenes, draw_scenes(products), strict=True):
        assert scene.labels == again.labels
        assert np.array_equal(scene.image, again.image)


def test_guesses_are_the_candidates_or_the_nearest_item() -> None:
    matches = [{"label": "tea", "similarity": 0.4}, {"label": "milk", "similarity": 0.3}]
    assert guesses({"matches": matches}) == ["tea 0.40"]
    candidates = [{"label": name, "similarity": 0.4, "probability": 0.25} for name in ("milk", "tea", "cola", "beer")]
    assert guesses({"matches": matches, "candidates": candidates}) == ["milk 0.25", "tea 0.25", "cola 0.25"]
    assert guesses({"matches": [], "candidates": []}) == []


def test_the_picture_shows_what_was_missed() -> None:
    cola, tea = (
        {**one, "similarity": 0.8, "probability": 0.9, "confidence": 0.9} for one in JOB["result"]["recognitions"]
    )
    grey = np.array(MISSED_COLOUR)
    whole = np.asarray(picture(answer(recognitions=[cola, tea])))
    assert not (whole == grey).all(2).any()
    missed = (np.asarray(picture(answer(recognitions=[cola]))) == grey).all(2)
    assert missed[20:80, 60].all()  # the left edge of the tea that is there
    unsure = {**tea, "reason": "below_similarity_threshold", "matches": []}
    unsure["box"] = [62, 20, 88, 80]
    shown = (np.asarray(picture(answer(recognitions=[cola], dropped=[unsure]))) == grey).all(2)
    assert shown[20:80, 62].all()
    wrong = np.asarray(picture(answer(recognitions=[cola, {**tea, "label": "milk"}])))
    assert (wrong == grey).all(2).any()


def correction(before: Kind, after: Kind) -> Correction:
    one, other = (Outcome("photo-0.png", "milk", (0, 0, 9, 9), kind, None) for kind in (before, after))
    return Correction("milk", one, other)


def test_a_correction_must_help_where_it_was_needed() -> None:
    for before in ("wrong", "unsure", "missed"):
        assert correction(before, "right").faults == []
    assert correction("unsure", "missed").faults == ["milk is not recognised also after its correction"]
    assert correction("right", "right").faults == ["milk was recognised before it was enrolled"]
    body = {
        "label": "tea",
        "probability": 0.97,
        "candidates": [{"label": "tea", "probability": 0.4, "similarity": 0.5}],
    }
    said = [report(Outcome("", "milk", (0, 0, 9, 9), kind, body)) for kind in ("right", "wrong", "unsure")]
    assert said == ["recognised, 0.97 sure", "taken for tea", "not recognised (best guess: tea 0.40)"]


class NoStack:
    """In the place of the service."""

    base_url = "http://127.0.0.1:1"

    def __init__(self, *_: object, **__: object) -> None:
        return

    def __enter__(self) -> "NoStack":
        return self

    def __exit__(self, *_: object) -> None:
        return


@pytest.mark.parametrize(("wrong", "status"), [(0, 0), (1, 0), (2, 1)])
def test_the_exit_status_is_the_rule(wrong: int, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cola, tea = (
        {**one, "similarity": 0.8, "probability": 0.9, "confidence": 0.9} for one in JOB["result"]["recognitions"]
    )
    times = dict.fromkeys(("decode", "detect", "embed", "search"), 1.0)
    answers = [
        answer(recognitions=[cola, {**tea, "label": "milk"} if number < wrong else tea], timings_ms=times)
        for number in range(6)
    ]
    monkeypatch.setattr(demo_module, "Stack", NoStack)
    monkeypatch.setattr(demo_module, "_walk", lambda *_: answers)
    helped = correction("unsure", "right")
    monkeypatch.setattr(demo_module, "_correct", lambda *_: helped)
    result = CliRunner().invoke(demo_module.demo, ["--out", str(tmp_path)])
    assert result.exit_code == status, result.output
    assert f"{12 - wrong} of 12 products right" in result.output
    assert ("it takes 11" in result.output) == bool(status)
    assert ("taken for milk" in result.output) == bool(wrong)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),
        ([0, 0, 10, 10], [20, 20, 30, 30], 0.0),
        ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),
    ],
)
def test_overlap(first: list[float], second: list[float], expected: float) -> None:
    assert overlap(first, second) == pytest.approx(expected)
    assert overlap(np.array(second, np.float32), first) == pytest.approx(expected)


def test_only_what_a_demo_left_is_removed(tmp_path: Path) -> None:
    for left in ("photo-0.png", f"{DATA}/logs/web.log", "data/precious", "mine.png", "photo-album.png"):
        (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / left).touch()
    make_room(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "mine.png", "photo-album.png"]


def test_only_signed_messages_are_believed() -> None:
    body = json.dumps({"type": "recognition.completed", "data": JOB})
    with Receiver() as receiver:
        now = datetime.now(UTC)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
        signed = {**headers, "webhook-signature": Webhook(receiver.secret).sign("msg_1", now, body)}
        forged = requests.post(receiver.url, data=body, headers={**headers, "webhook-signature": "v1,AAAA"}, timeout=10)
        assert forged.status_code == 400
        assert not receiver.verified
        assert len(receiver.refused) == 1
        changed = requests.post(receiver.url, data=body + " ", headers=signed, timeout=10)
        assert changed.status_code == 400
        assert requests.post(receiver.url, data=body, headers=signed, timeout=10).status_code == 204
        assert receiver.wait_for("rec_1")["data"]["id"] == "rec_1"

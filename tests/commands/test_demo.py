"""The demo believes nothing: wrong answers are faults, and unsigned webhooks are refused."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from standardwebhooks import Webhook

from commands.demo import DATA, Answer, Receiver, faults, make_room, overlap
from models.training.scenes import Scene

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


def test_a_right_answer_has_no_faults() -> None:
    assert faults(answer()) == []


def test_each_fault_is_told() -> None:
    cola, tea = JOB["result"]["recognitions"]
    assert faults(answer(recognitions=[])) == ["photo-0.png: cola was not found", "photo-0.png: tea was not found"]
    assert faults(answer(recognitions=[cola])) == ["photo-0.png: tea was not found"]
    assert faults(answer(recognitions=[cola, {**tea, "label": "milk"}])) == ["photo-0.png: tea was taken for milk"]
    assert faults(answer(recognitions=[cola, tea, {"box": [0, 90, 9, 99], "label": "milk"}])) == [
        "photo-0.png: 3 answers for 2 products"
    ]
    told_otherwise = Answer(SCENE, JOB, {"data": {**JOB, "result": {"recognitions": []}}})
    assert faults(told_otherwise) == ["photo-0.png: the webhook tells another result than the poll"]


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

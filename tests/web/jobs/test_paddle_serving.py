"""`/recognition/prediction` of Paddle Serving: sent as its client sends, answered in its form, on the ledger."""

from __future__ import annotations

import ast
import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from infra.jobs.records import Job
from infra.jobs.scripts import OPEN
from tests.openapi_checks import check
from tests.web.conftest import EMBEDDER, Hand, recognition_result
from tests.web.jobs.test_paddlex import encoded, worked
from web.routes import description
from web.services import Services

PATH = "/recognition/prediction"
FOUND = [{"bbox": [60, 90, 260, 420], "rec_docs": "绿 茶's", "rec_scores": 0.91}]


@pytest.fixture(autouse=True)
def drinks(service: Services) -> None:
    service.galleries.create("drinks")
    item = Item(item_id("0" * 64, "tea"), "tea", "images/0", "0" * 64, None, "")
    service.galleries.add("drinks", [item], np.eye(1, 8, dtype=np.float32), EMBEDDER)


def sent(**changes: Any) -> dict[str, Any]:
    return {"key": ["image"], "value": [encoded(3)], **changes}


def answered(job: Job) -> dict[str, Any]:
    return recognition_result(job.request["gallery"], paddleclas=FOUND)


def test_their_client_is_answered_as_by_their_server(client: FlaskClient, service: Services, hand: Hand) -> None:
    with worked(service, hand, answered) as jobs:  # requests.post(url, data=json.dumps(...)) names no media type
        answer = client.post(f"{PATH}?gallery=drinks", data=json.dumps(sent()))
    assert answer.status_code == 200, answer.text
    report = answer.get_json()
    check(report, "PredictionAnswer", description())
    assert {**report, "value": None} == {"err_no": 0, "err_msg": "", "key": ["result"], "value": None, "tensors": []}
    assert ast.literal_eval(report["value"][0]) == FOUND
    assert [(job.kind, job.request["gallery"]) for job in jobs] == [("recognition", "drinks")]
    assert jobs[0].request["options"] == {
        "compat": "paddleclas", "detection_threshold": 0.2, "max_detections": 5, "suppression_iou": 0.05,
    }  # fmt: skip


def test_what_their_gateway_takes_besides_is_taken(client: FlaskClient, service: Services, hand: Hand) -> None:
    more = sent(tensors=[], name="recognition", method="prediction", logid=7, clientip="10.0.0.9")
    with worked(service, hand, lambda job: recognition_result(job.request["gallery"], paddleclas=[])):
        answer = client.post(f"{PATH}?gallery=drinks", json=more)
    assert answer.get_json()["value"] == ["[]"]


def test_every_mistake_is_named_in_their_form(client: FlaskClient, service: Services, hand: Hand) -> None:
    for query, body, err_no, code, report in (
        ("?gallery=drinks", {"key": ["image", "photo"], "value": ["!"]}, 5000, "invalid_request",
         ["value: must have a value for each key", "key/1: there is no 'photo'", "value/0: is no picture"]),
        ("?gallery=drinks", sent(key=["image", "image"]), 5000, "invalid_request", ["'image' once"]),
        ("?gallery=drinks", sent(value=["https://shop.example/a.jpg"]), 5000, "invalid_request", ["base64"]),
        ("?gallery=drinks", sent(value=["aGVsbG8="]), 5000, "image_rejected", ["picture"]),
        ("?gallery=drinks", sent(tensors=[{}]), 5000, "invalid_request", ["tensors"]),
        ("?gallery=none", sent(), 4000, "gallery_not_found", ["none"]),
        ("", sent(), 5000, "invalid_request", ["SHITU_WEB__PADDLE_SERVING_GALLERY"]),
        ("?galery=drinks", sent(), 5000, "invalid_request", ["galery"]),
    ):  # fmt: skip
        answer = client.post(PATH + query, json=body)
        found = answer.get_json()
        assert (found["err_no"], found["code"], found["value"]) == (err_no, code, []), found
        assert answer.status_code >= 400
        assert [part for part in report if part not in found["err_msg"]] == []
    not_json = client.post(f"{PATH}?gallery=drinks", data="key=image")
    assert (not_json.status_code, not_json.get_json()["err_no"]) == (400, 5000)
    assert service.redis.zcard(OPEN) == 0
    with worked(service, hand, lambda _: None):
        failed = client.post(f"{PATH}?gallery=drinks", json=sent())
    assert (failed.status_code, failed.get_json()["err_no"], failed.get_json()["code"]) == (
        409, 9000, "job_without_answer",
    )  # fmt: skip


def test_who_gives_up_waiting_loses_nothing(
    client: FlaskClient, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.ledger, "wait", lambda job_id, _: service.ledger.get(job_id))
    late = client.post(f"{PATH}?gallery=drinks", json=sent())
    assert (late.status_code, late.get_json()["err_no"], late.get_json()["code"]) == (504, 6000, "answer_late")
    (open_job,) = service.redis.zrange(OPEN, 0, -1)
    assert f"/v1/recognitions/{open_job}" in late.get_json()["err_msg"]

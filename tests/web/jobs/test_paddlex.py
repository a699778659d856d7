"""The routes of PaddleX serving: their bodies and answers, on the ledger, with a worker's part done by hand."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from infra.jobs.records import Job
from infra.jobs.scripts import OPEN
from tests.openapi_checks import check
from tests.web.conftest import EMBEDDER, Hand, recognition_result
from tests.web.pictures import picture
from web.paddlex.routes import number_of
from web.routes import description
from web.services import Services


def encoded(seed: int) -> str:
    return base64.b64encode(picture(seed=seed)).decode()


@contextmanager
def worked(service: Services, hand: Hand, result: Any) -> Iterator[list[Job]]:
    """Ends jobs with what `result` makes of them, while the request waits."""
    over, seen = threading.Event(), list[Job]()

    def work() -> None:
        while not over.wait(0.01):
            for job_id in service.redis.zrange(OPEN, 0, -1):
                job = service.ledger.get(job_id)
                seen.append(job)
                made = result(job)
                if made is None:
                    hand.fail(job_id, "image_truncated")
                else:
                    hand.finish(job_id, made)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


def imported(service: Services, rejected: int | None = None) -> Any:
    """Enrols as a worker does: a vector a label, reported as the import's result."""

    def result(job: Job) -> dict[str, Any]:
        name = job.request["gallery"]
        labels = ["cola", "milk"]
        items = [
            Item(item_id(f"{at:064d}", label), label, f"images/{at}", f"{at:064d}", None, "")
            for at, label in enumerate(labels)
        ]
        service.galleries.add(name, items, np.eye(2, 8, dtype=np.float32), EMBEDDER)
        lines = [] if rejected is None else [{"line": rejected, "error": {"message": "The file is empty."}}]
        return {"rejected": lines, "counts": {"total": 2}}

    return result


@pytest.fixture
def key(client: FlaskClient, service: Services, hand: Hand) -> str:
    pairs = [{"image": encoded(1), "label": "cola"}, {"image": encoded(2), "label": "milk"}]
    with worked(service, hand, imported(service)) as jobs:
        answer = client.post("/shitu-index-build", json={"imageLabelPairs": pairs})
    assert answer.status_code == 200, answer.text
    report = answer.get_json()
    check(report, "IndexAnswer", description())
    assert (report["errorCode"], report["errorMsg"]) == (0, "Success")
    assert [(job.kind, [one["name"] for one in job.request["files"]]) for job in jobs] == [
        ("import", ["labels.tsv", "pictures.zip"])
    ]
    assert sorted(report["result"]["idMap"].values()) == ["cola", "milk"]
    return str(report["result"]["indexKey"])


def test_an_index_is_a_gallery_whose_items_are_added_and_removed(
    client: FlaskClient, service: Services, hand: Hand, key: str
) -> None:
    items = {item.label: item for item in service.galleries.items(key, service.galleries.manifest(key).version)}
    pairs = [{"image": "https://shop.example/a.jpg", "label": "cola"}]
    with worked(service, hand, imported(service)):
        added = client.post("/shitu-index-add", json={"indexKey": key, "imageLabelPairs": pairs}).get_json()
    assert len(added["result"]["idMap"]) == 2  # the hand enrols the same two
    one = number_of(items["milk"])
    refused = client.post("/shitu-index-remove", json={"indexKey": key, "ids": [one, 7]})
    assert (refused.status_code, refused.get_json()["errorCode"], refused.get_json()["code"]) == (
        404,
        404,
        "item_not_found",
    )
    assert "no id 7" in refused.get_json()["errorMsg"]
    left = client.post("/shitu-index-remove", json={"indexKey": key, "ids": [one]}).get_json()
    assert left["result"]["idMap"] == {str(number_of(items["cola"])): "cola"}


def test_a_photo_is_answered_by_objects_with_their_labels(
    client: FlaskClient, service: Services, hand: Hand, key: str
) -> None:
    with worked(service, hand, lambda job: recognition_result(job.request["gallery"])) as jobs:
        sent = {"image": encoded(3), "indexKey": key, "recThreshold": 0.4, "detThreshold": 0.3, "topk": 2}
        answer = client.post("/shitu-infer", json=sent)
    assert answer.status_code == 200, answer.text
    check(answer.get_json(), "InferAnswer", description())
    first, *rest = answer.get_json()["result"]["detectedObjects"]
    assert (first["bbox"], first["score"], first["recResults"][0]) == (
        [60.0, 90.0, 260.0, 420.0], 0.93, {"label": "tea", "score": 0.91},
    )  # fmt: skip
    assert all(one["recResults"] == [] for one in rest)
    assert jobs[0].request["options"] == {
        "detection_threshold": 0.3, "top_k": 2, "suppression_iou": 1.0, "similarity_threshold": 0.4,
    }  # fmt: skip


def test_without_an_index_objects_are_detected(client: FlaskClient, service: Services, hand: Hand) -> None:
    found = {"detections": [{"box": [1, 2, 30, 40], "confidence": 0.8}]}
    with worked(service, hand, lambda job: found if job.kind == "detection" else None):
        answer = client.post("/shitu-infer", json={"image": encoded(3)}).get_json()
    assert answer["result"] == {"detectedObjects": [{"bbox": [1.0, 2.0, 30.0, 40.0], "recResults": [], "score": 0.8}]}


def test_errors_have_their_form_and_nothing_accepted_is_lost(
    client: FlaskClient, service: Services, hand: Hand, key: str
) -> None:
    with worked(service, hand, lambda _: None):
        failed = client.post("/shitu-infer", json={"image": encoded(3), "indexKey": key})
    assert (failed.status_code, failed.get_json()["code"]) == (409, "job_without_answer")
    assert failed.get_json()["errorMsg"] == "It could not be done."
    for path, sent, code, report in (
        ("/shitu-infer", {"image": "!"}, "invalid_request", "neither a URL nor base64"),
        ("/shitu-infer", {"image": encoded(3), "hammingRadius": 9}, "invalid_request", "hammingRadius"),
        ("/shitu-infer", {"image": encoded(3), "indexKey": "none"}, "gallery_not_found", "none"),
        ("/shitu-infer", {"image": "http://127.0.0.1/a.jpg", "indexKey": key}, "address_forbidden", "127.0.0.1"),
        ("/shitu-index-build", {"imageLabelPairs": []}, "invalid_request", "imageLabelPairs"),
        ("/shitu-index-build", {"imageLabelPairs": [{"image": "!", "label": "\u200b"}]}, "invalid_request", "label"),
        ("/image-classification", {"image": encoded(3)}, "model_not_configured", "classifier"),
    ):
        answer = client.post(path, json=sent)
        reported_all = answer.get_json()
        assert (reported_all["code"], reported_all["errorCode"]) == (code, answer.status_code), reported_all
        assert report in reported_all["errorMsg"], reported_all
    with worked(service, hand, imported(service, rejected=2)):
        pairs = [{"image": encoded(1), "label": "cola"}, {"image": encoded(2), "label": "milk"}]
        partly = client.post("/shitu-index-add", json={"indexKey": key, "imageLabelPairs": pairs})
    assert partly.status_code == 409
    assert "imageLabelPairs/1: The file is empty." in partly.get_json()["errorMsg"]


def test_who_has_waited_long_enough_is_reported_where_the_answer_will_be(
    client: FlaskClient, service: Services, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.ledger, "wait", lambda job_id, _: service.ledger.get(job_id))
    late = client.post("/shitu-infer", json={"image": encoded(3), "indexKey": key})
    assert (late.status_code, late.get_json()["code"]) == (504, "answer_late")
    (open_job,) = service.redis.zrange(OPEN, 0, -1)
    assert f"/v1/recognitions/{open_job}" in late.get_json()["errorMsg"]

"""Every 202 and every poll of an open job says where it stands; what came of the first estimate is measured."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from infra.jobs.forecast import Forecast
from infra.runtime.telemetry import REGISTRY
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.routes import description
from web.services import Services
from worker.attempt import compare_eta

URL = "/v1/recognitions"


def form(**fields: Any) -> dict[str, Any]:
    return {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg"), **fields}


def test_it_is_in_the_202_the_poll_and_the_events(client: FlaskClient, hand: Hand, drinks: str) -> None:
    first = client.post(URL, data=form()).get_json()
    job = client.post(URL, data=form()).get_json()
    check(job, "RecognitionJob", description())
    assert (first["queue"], job["queue"]) == ({"position": 1, "eta_s": None}, {"position": 2, "eta_s": None})
    polled = client.get(job["links"]["self"])
    assert polled.get_json()["queue"]["position"] == 2
    assert client.get(job["links"]["self"], headers={"If-None-Match": polled.headers["ETag"]}).status_code == 304
    hand.finish(first["id"], recognition_result())
    moved = client.get(job["links"]["self"], headers={"If-None-Match": polled.headers["ETag"]})
    assert moved.get_json()["queue"]["position"] == 1
    hand.finish(job["id"], recognition_result())
    assert "queue" not in client.get(job["links"]["self"]).get_json()
    assert '"queue"' not in client.get(job["links"]["events"]).text


def test_passing_seconds_are_no_change(
    client: FlaskClient, service: Services, hand: Hand, drinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.post(URL, data=form()).get_json()
    for eta_s in (3.2, 12.0, None):
        monkeypatch.setattr(Forecast, "of", lambda *_, eta_s=eta_s: {"position": 1, "eta_s": eta_s})
        response = client.get(job["links"]["self"])
        assert response.get_json()["queue"]["eta_s"] == eta_s
        tag = response.headers["ETag"]
        job.setdefault("tag", tag)
        assert tag == job["tag"]


@pytest.mark.parametrize("priority", ["high", "normal", "low"])
def test_a_priority_is_taken_from_form_and_json(client: FlaskClient, drinks: str, priority: str) -> None:
    assert client.post(URL, data=form(priority=priority)).get_json()["priority"] == priority
    body = {"gallery": "drinks", "image": {"url": "https://93.184.216.34/a.jpg"}, "priority": priority}
    assert client.post(URL, json=body).get_json()["priority"] == priority
    images = {"images": [(io.BytesIO(picture(seed=9)), "a.jpg")], "labels": "tea", "priority": priority}
    assert client.post(f"/v1/galleries/{drinks}/items", data=images).get_json()["priority"] == priority


def test_another_priority_is_refused(client: FlaskClient, drinks: str) -> None:
    problem = refused(client.post(URL, data=form(priority="urgent")), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/priority"


def test_a_202_does_not_depend_on_it(client: FlaskClient, drinks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(Forecast, "of", fails)
    response = client.post(URL, data=form())
    assert response.status_code == 202
    assert "queue" not in response.get_json()


def errors(direction: str) -> float:
    labels = {"kind": "recognition", "direction": direction}
    return REGISTRY.get_sample_value("shitu_job_eta_error_seconds_count", labels) or 0.0


def test_the_error_of_the_first_estimate_is_a_metric(
    client: FlaskClient, service: Services, hand: Hand, drinks: str
) -> None:
    info = {"models": {}, "queues": ["recognize"], "concurrency": 1}
    service.ledger.presence.worker_ready("a", info, ttl_s=60)
    hand.finish(client.post(URL, data=form()).get_json()["id"], recognition_result())
    job = client.post(URL, data=form()).get_json()
    kept = service.ledger.get(job["id"])
    assert kept.eta_s == pytest.approx(job["queue"]["eta_s"], abs=0.1)
    before = errors("late") + errors("early")
    hand.finish(job["id"], recognition_result())
    compare_eta(service.ledger.get(job["id"]))
    assert errors("late") + errors("early") == before + 1
    assert "eta_s" not in json.dumps(service.ledger.get(job["id"]).to_dict())

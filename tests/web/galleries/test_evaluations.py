"""Evaluations of versions over HTTP."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.openapi_checks import check
from tests.web.conftest import Hand
from tests.web.refusals import refused
from web.openapi.example_records import EVALUATION_JOB
from web.routes import description

URL = "/v1/galleries/drinks/versions"


def test_an_evaluation_is_a_job(client: FlaskClient, drinks: str, hand: Hand) -> None:
    answer = client.post(f"{URL}/1/evaluate")
    assert answer.status_code == 202, answer.text
    job = answer.get_json()
    check(job, "EvaluationJob", description())
    assert (job["kind"], job["request"]) == ("evaluation", {"gallery": "drinks", "version": 1})
    hand.finish(job["id"], EVALUATION_JOB["result"])
    check(client.get(job["links"]["self"]).get_json(), "EvaluationJob", description())
    report = client.post(f"{URL}/1/evaluate", json={"against": 2, "metadata": {"why": "new"}}).get_json()
    assert (report["request"]["against"], report["metadata"]) == (2, {"why": "new"})
    assert client.post(f"{report['links']['cancel']}").get_json()["status"] == "canceled"
    assert len(client.get("/v1/evaluations?gallery=drinks").get_json()["evaluations"]) == 2


def test_what_is_not_there_is_reported(client: FlaskClient, drinks: str) -> None:
    refused(client.post(f"{URL}/9/evaluate"), 404, "gallery_version_not_found")
    refused(client.post(f"{URL}/1/evaluate", json={"against": 9}), 404, "gallery_version_not_found")
    refused(client.post(f"{URL}/1/evaluate", json={"agianst": 1}), 400, "invalid_request")
    refused(client.post("/v1/galleries/none/versions/1/evaluate"), 404, "gallery_not_found")

"""Re-embeddings over HTTP, and galleries that name their embedder."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.openapi_checks import check
from tests.web.conftest import Hand
from tests.web.refusals import refused
from web.openapi.example_records import REEMBEDDING_JOB
from web.routes import description
from web.services import Services

URL = "/v1/galleries/drinks/reembed"
BODY = {"embedder": "ppshitu-v2-embedder"}


def test_a_reembedding_is_a_job(client: FlaskClient, drinks: str, hand: Hand) -> None:
    answer = client.post(URL, json=BODY)
    assert answer.status_code == 202, answer.text
    job = answer.get_json()
    check(job, "ReembeddingJob", description())
    assert (job["kind"], job["request"]) == ("reembedding", {"gallery": "drinks", **BODY, "activate": False})
    hand.finish(job["id"], REEMBEDDING_JOB["result"])
    check(client.get(job["links"]["self"]).get_json(), "ReembeddingJob", description())
    active = client.post(URL, json={**BODY, "activate": True, "metadata": {"why": "new"}}).get_json()
    assert (active["request"]["activate"], active["metadata"]) == (True, {"why": "new"})
    assert client.post(active["links"]["cancel"]).get_json()["status"] == "canceled"
    assert len(client.get("/v1/reembeddings?gallery=drinks").get_json()["reembeddings"]) == 2


def test_one_that_failed_is_tried_again(client: FlaskClient, drinks: str, hand: Hand) -> None:
    job = client.post(URL, json=BODY).get_json()
    hand.fail(job["id"], "embedder_unknown")
    again = client.post(f"{job['links']['self']}/replay")
    assert (again.status_code, again.get_json()["status"]) == (202, "queued")


def test_what_is_not_there_is_refused(client: FlaskClient, drinks: str) -> None:
    refused(client.post("/v1/galleries/none/reembed", json=BODY), 404, "gallery_not_found")
    for body in ({}, {"embedder": ""}, {**BODY, "activte": True}):
        refused(client.post(URL, json=body), 400, "invalid_request")


def test_a_gallery_is_made_for_one_of_the_workers_embedders(client: FlaskClient, service: Services) -> None:
    refused(client.post("/v1/galleries", json={"name": "early", "embedder": "second"}), 422, "embedder_unknown")
    reported = {
        "models": {"embedder": {"name": "first", "digest": "a" * 64}},
        "embedders": [{"name": "second", "digest": "b" * 64}],
    }
    service.ledger.presence.worker_ready("worker", reported, ttl_s=60)
    for name, embedder, digest in (
        ("one", "first", "a" * 64),
        ("two", "second", "b" * 64),
        ("three", "b" * 64, "b" * 64),
    ):
        made = client.post("/v1/galleries", json={"name": name, "embedder": embedder})
        assert (made.status_code, made.get_json()["embedder_digest"]) == (201, digest), made.text
    problem = client.post("/v1/galleries", json={"name": "four", "embedder": "third"})
    refused(problem, 422, "embedder_unknown")
    assert "first, second" in problem.get_json()["detail"]
    assert client.get("/v1/galleries/four").status_code == 404

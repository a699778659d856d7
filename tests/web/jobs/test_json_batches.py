"""Batches in JSON: photos that stand in the body, that were uploaded by links, or that the couriers are to fetch."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from tests.openapi_checks import check
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

URL = "/v1/batches"
PHOTO = {"base64": base64.b64encode(picture(seed=1)).decode(), "name": "1.jpg"}
FETCHED = {"url": "https://shop.example/shelf.jpg"}


def body(*images: object, **more: Any) -> dict[str, Any]:
    return {"gallery": "drinks", "images": list(images), **more}


def open_jobs(client: redis.Redis) -> int:
    return int(client.zcard("shitu:jobs:open"))


def test_each_way_of_naming_a_photo_becomes_a_job(client: FlaskClient, service: Services, drinks: str) -> None:
    data = picture(seed=2)
    made = client.post("/v1/uploads", json={"size": len(data), "name": "2.jpg"}).get_json()
    assert client.put(made["send"]["url"], data=data, headers=made["send"]["headers"]).status_code == 204
    response = client.post(URL, json=body(PHOTO, {"upload": made["id"]}, FETCHED, options={"top_k": 2}))
    batch = response.get_json()
    assert response.status_code == 202, batch
    check(batch, "Batch", description())
    assert [one["name"] for one in batch["jobs"]] == ["1.jpg", "2.jpg", "shelf.jpg"]
    jobs = [service.ledger.get(one["id"]) for one in batch["jobs"]]
    assert [job.source_url for job in jobs] == [None, None, FETCHED["url"]]
    assert [job.request["options"] for job in jobs] == [{"top_k": 2}] * 3
    assert (service.redis.llen("shitu:queue:recognize"), service.redis.llen("shitu:queue:fetch")) == (2, 1)
    assert FETCHED["url"] not in response.text  # an address may hold a secret


def test_a_bad_photo_holds_up_no_other(client: FlaskClient, drinks: str, redis_client: redis.Redis) -> None:
    bad = {"base64": base64.b64encode(b"no photo").decode(), "name": "bad.jpg"}
    batch = client.post(URL, json=body(bad, FETCHED)).get_json()
    assert [one["status"] for one in batch["jobs"]] == ["rejected", "queued"]
    problem = refused(client.post(URL, json=body(bad, bad)), 422, "image_rejected")
    assert [one["pointer"] for one in problem["errors"]] == ["/images/0", "/images/1"]
    assert open_jobs(redis_client) == 1


@pytest.mark.parametrize(
    ("images", "status", "code", "pointer"),
    [
        ([], 400, "invalid_request", "/images"),
        ([FETCHED, {}], 400, "invalid_request", "/images/1"),
        ([FETCHED, {"url": "https://a.example/1.jpg", "upload": "upl_x"}], 400, "invalid_request", "/images/1"),
        ([{"base64": "?"}, FETCHED], 400, "invalid_request", "/images/0/base64"),
        ([FETCHED, {"url": "http://127.0.0.1/a.jpg"}], 422, "address_forbidden", "/images/1/url"),
        ([FETCHED, {"url": "ftp://a.example/a.jpg"}], 422, "url_invalid", "/images/1/url"),
        ([FETCHED, "https://a.example/1.jpg"], 400, "invalid_request", "/images/1"),
    ],
)
def test_what_is_wrong_is_refused_whole_and_says_where(
    client: FlaskClient, drinks: str, redis_client: redis.Redis, images: list[Any], status: int, code: str, pointer: str
) -> None:
    problem = refused(client.post(URL, json=body(*images)), status, code)
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert open_jobs(redis_client) == 0


def test_too_many_are_refused(client: FlaskClient, service: Services, drinks: str) -> None:
    most = service.settings.web.max_files
    problem = refused(client.post(URL, json=body(*[FETCHED] * (most + 1))), 413, "too_many_files")
    assert problem["max_files"] == most


def test_sent_twice_under_one_key_it_is_one_batch(client: FlaskClient, service: Services, drinks: str) -> None:
    key = {"Idempotency-Key": '"batch-in-json-of-two-photos"'}
    first = client.post(URL, json=body(PHOTO, FETCHED), headers=key)
    again = client.post(URL, json=body(PHOTO, FETCHED), headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["id"] == first.get_json()["id"]
    assert open_jobs(service.redis) == 2
    refused(client.post(URL, json=body(FETCHED), headers=key), 422, "idempotency_key_reused")

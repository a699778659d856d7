"""Enrolments in JSON: pictures that stand in the body, that were uploaded by links, or that the couriers are to fetch."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from infra.erasure.pictures import delete_unused
from infra.jobs.sources import parse_sources
from tests.openapi_checks import check
from tests.web.pictures import picture
from tests.web.refusals import open_jobs, refused
from web.routes import description
from web.services import Services

URL = "/v1/galleries/drinks/items"
SENT = {"base64": base64.b64encode(picture(seed=1)).decode(), "name": "1.jpg"}
FETCHED = {"url": "https://shop.example/shelf.jpg?key=s3cret"}
BROKEN = {"base64": base64.b64encode(b"no photo").decode(), "name": "bad.jpg"}


def uploaded(client: FlaskClient, data: bytes, name: str = "2.jpg") -> str:
    made = client.post("/v1/uploads", json={"size": len(data), "name": name}).get_json()
    assert client.put(made["send"]["url"], data=data, headers=made["send"]["headers"]).status_code == 204
    return str(made["id"])


def item(image: dict[str, Any], label: str | None = "cola", **more: Any) -> dict[str, Any]:
    return {"image": image, **({} if label is None else {"label": label}), **more}


def test_each_way_of_naming_a_picture_becomes_one_of_the_job(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    upload = uploaded(client, picture(seed=2))
    sent = {
        "items": [item(SENT, metadata={"brand": "x"}), item({"upload": upload}, "te\u0301"), item(FETCHED, None)],
        "label": "water",
        "crop": "main_body",
        "skip_near_duplicates": True,
        "activate": False,
        "priority": "low",
        "metadata": {"visit": "7"},
        "webhook": {"url": "https://93.184.216.34/hook"},
    }
    answer = client.post(URL, json=sent)
    job = answer.get_json()
    assert answer.status_code == 202, job
    check(job, "EnrollmentJob", description())
    request = job["request"]
    assert (request["crop"], request["skip_near_duplicates"], request["activate"]) == ("main_body", True, False)
    assert (job["priority"], job["metadata"], job["webhook"]["url"]) == (
        "low",
        {"visit": "7"},
        "https://93.184.216.34/hook",
    )
    here, by_link, to_fetch = request["items"]
    assert [one["label"] for one in request["items"]] == ["cola", "té", "water"]
    assert [one["name"] for one in request["items"]] == ["1.jpg", "2.jpg", "shelf.jpg"]
    assert here["metadata"] == {"brand": "x"}
    assert service.objects.get(here["image_key"]) == picture(seed=1)
    assert service.objects.get(by_link["image_key"]) == picture(seed=2)
    assert by_link["sha256"] == hashlib.sha256(picture(seed=2)).hexdigest()
    assert to_fetch == {"name": "shelf.jpg", "label": "water"}
    assert "s3cret" not in answer.text  # an address may hold a secret
    kept = service.ledger.get(job["id"])
    assert (parse_sources(kept.source_url), kept.units) == ({2: FETCHED["url"]}, 3)
    assert (service.redis.llen("shitu:queue:enroll"), service.redis.llen("shitu:queue:fetch")) == (0, 1)
    assert not list(service.objects.list("uploads/"))  # one copy, so that an erasure leaves none


def test_without_urls_a_worker_has_it_at_once(client: FlaskClient, service: Services, drinks: str) -> None:
    job = client.post(URL, json={"items": [item(SENT)]}).get_json()
    assert service.ledger.get(job["id"]).source_url is None
    assert (service.redis.llen("shitu:queue:enroll"), service.redis.llen("shitu:queue:fetch")) == (1, 0)


def test_a_bad_picture_holds_up_no_other(client: FlaskClient, service: Services, drinks: str) -> None:
    job = client.post(URL, json={"items": [item(BROKEN), item(FETCHED)]}).get_json()
    assert [one.get("error", {}).get("code") for one in job["request"]["items"]] == ["image_not_an_image", None]
    before = set(service.objects.list("images/"))
    problem = refused(client.post(URL, json={"items": [item(BROKEN), item(BROKEN)]}), 422, "image_rejected")
    assert [one["pointer"] for one in problem["errors"]] == ["/items/0/image", "/items/1/image"]
    assert set(service.objects.list("images/")) == before
    assert open_jobs(service) == 1


@pytest.mark.parametrize(
    ("items", "status", "code", "pointer"),
    [
        ([], 400, "invalid_request", "/items"),
        ([item(FETCHED), item({})], 400, "invalid_request", "/items/1/image"),
        ([item(FETCHED), item({"base64": "?"})], 400, "invalid_request", "/items/1/image/base64"),
        ([item({**FETCHED, "upload": "upl_x"})], 400, "invalid_request", "/items/0/image"),
        ([item(SENT), item(FETCHED, None)], 400, "invalid_request", "/items/1/label"),
        ([item(SENT), item(FETCHED, " ")], 400, "invalid_request", "/items/1/label"),
        ([item(SENT, lable="x")], 400, "invalid_request", "/items/0/lable"),
        ([item(SENT, metadata={"no good!": "x"})], 400, "invalid_request", "/items/0/metadata"),
        ([item(SENT), "https://a.example/1.jpg"], 400, "invalid_request", "/items/1"),
        ([item(SENT), item({"url": "http://127.0.0.1/a.jpg"})], 422, "address_forbidden", "/items/1/image/url"),
        ([item(SENT), item({"url": "ftp://a.example/a.jpg"})], 422, "url_invalid", "/items/1/image/url"),
        ([item(SENT), item({"url": "s3://closed/a.jpg"})], 422, "bucket_forbidden", "/items/1/image/url"),
    ],
)
def test_what_is_wrong_is_refused_whole_and_says_where(
    client: FlaskClient, service: Services, drinks: str, items: list[Any], status: int, code: str, pointer: str
) -> None:
    before = set(service.objects.list("images/"))
    problem = refused(client.post(URL, json={"items": items}), status, code)
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert open_jobs(service) == 0
    assert set(service.objects.list("images/")) == before


def test_every_wrong_label_is_named(client: FlaskClient, drinks: str) -> None:
    sent = {"items": [item(SENT, None), item(SENT, None), item(SENT, "\u200b")], "label": " "}
    problem = refused(client.post(URL, json=sent), 400, "invalid_request")
    assert [one["pointer"] for one in problem["errors"]] == ["/label", "/items/2/label"]


def test_an_upload_without_its_bytes_is_refused_before_anything_is_kept(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    before = set(service.objects.list("images/"))
    empty = client.post("/v1/uploads", json={"size": 10, "name": "2.jpg"}).get_json()["id"]
    refused(client.post(URL, json={"items": [item(SENT), item({"upload": empty})]}), 409, "upload_incomplete")
    refused(client.post(URL, json={"items": [item(SENT), item({"upload": "upl_0"})]}), 404, "upload_not_found")
    assert set(service.objects.list("images/")) == before


@pytest.mark.parametrize("body", [{}, {"label": "tea"}, {"items": [item(SENT)], "from": {"job": "rec_x"}}])
def test_either_items_or_from(client: FlaskClient, drinks: str, body: dict[str, Any]) -> None:
    refused(client.post(URL, json=body), 400, "invalid_request")


def test_too_many_and_no_gallery_are_refused(client: FlaskClient, service: Services, drinks: str) -> None:
    most = service.settings.web.max_files
    problem = refused(client.post(URL, json={"items": [item(FETCHED)] * (most + 1)}), 413, "too_many_files")
    assert problem["max_files"] == most
    refused(client.post("/v1/galleries/none/items", json={"items": [item(SENT)]}), 404, "gallery_not_found")
    assert open_jobs(service) == 0


def test_sent_twice_under_one_key_it_is_one_job(client: FlaskClient, service: Services, drinks: str) -> None:
    key = {"Idempotency-Key": '"enrolment-in-json"'}
    upload = uploaded(client, picture(seed=3))
    sent = {"items": [item({"upload": upload}), item(FETCHED)]}
    first = client.post(URL, json=sent, headers=key)
    again = client.post(URL, json=sent, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["id"] == first.get_json()["id"]
    assert open_jobs(service) == 1
    refused(client.post(URL, json={"items": [item(SENT)]}, headers=key), 422, "idempotency_key_reused")


def test_an_upload_may_be_named_again(client: FlaskClient, service: Services, drinks: str) -> None:
    upload = uploaded(client, picture(seed=4))
    jobs = [client.post(URL, json={"items": [item({"upload": upload}, label)]}).get_json() for label in ("a", "b")]
    assert len({job["request"]["items"][0]["image_key"] for job in jobs}) == 1


def test_an_erasure_spares_what_an_open_job_has_fetched_so_far(
    client: FlaskClient, service: Services, drinks: str
) -> None:
    job_id = client.post(URL, json={"items": [item(FETCHED), item(FETCHED)]}).get_json()["id"]
    lease = service.ledger.start(job_id, fetching=True)
    assert lease is not None
    assert lease.job is not None
    key = service.objects.put_image(picture(seed=9))
    request = json.loads(json.dumps(lease.job.request))
    request["items"][0]["image_key"] = key
    assert service.ledger.fetched_one(lease.job, request, json.dumps({"1": FETCHED["url"]}))
    gone, _, later = delete_unused(service.galleries, service.redis, [key], since=2.0**40)
    assert (gone, later) == ([], [key])

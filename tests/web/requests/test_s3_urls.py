"""A photo named as `s3://bucket/key` in a request of each kind."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from web.app import create_app
from web.services import EXTENSION

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

    from infra.runtime.settings import Settings
    from web.services import Services

KINDS = ("recognitions", "detections", "embeddings")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    objects = dataclasses.replace(settings.objects, input_buckets=("photos", "archive/shop-1"))
    return dataclasses.replace(settings, objects=objects)


def sent(kind: str, url: str, gallery: str) -> dict[str, Any]:
    body: dict[str, Any] = {"image": {"url": url}}
    return body if kind != "recognitions" else {**body, "gallery": gallery}


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_bucket_makes_a_job_for_those_who_fetch(
    client: FlaskClient, service: Services, drinks: str, kind: str
) -> None:
    url = "s3://photos/deep/shelf 1?.jpg"
    answer = client.post(f"/v1/{kind}", json=sent(kind, url, drinks))
    assert answer.status_code == 202, answer.text
    job = answer.get_json()
    assert job["request"]["image"] == {
        "key": None, "name": "shelf 1?.jpg", "width": None, "height": None, "format": None
    }  # fmt: skip
    assert "s3://" not in answer.text
    assert service.ledger.get(job["id"]).source_url == url
    assert service.ledger.start(job["id"]) is None
    assert client.get(f"/v1/{kind}/{job['id']}/image").get_json()["code"] == "photo_not_fetched"


@pytest.mark.parametrize(
    ("url", "code", "report"),
    [
        ("s3://other/a.jpg", "bucket_forbidden", "SHITU_OBJECTS__INPUT_BUCKETS"),
        ("s3://archive/shop-2/a.jpg", "bucket_forbidden", "SHITU_OBJECTS__INPUT_BUCKETS"),
        ("s3://photos/", "url_invalid", "names no object"),
        ("s3://photos/../archive/a.jpg", "url_invalid", "two dots"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_another_address_is_refused_at_once(
    client: FlaskClient, drinks: str, kind: str, url: str, code: str, report: str
) -> None:
    answer = client.post(f"/v1/{kind}", json=sent(kind, url, drinks))
    assert (answer.status_code, answer.get_json()["code"]) == (422, code)
    (error,) = answer.get_json()["errors"]
    assert error["pointer"] == "/image/url"
    assert report in error["detail"]


def test_it_is_reported_with_all_other_mistakes(client: FlaskClient, drinks: str) -> None:
    body = {**sent("recognitions", "s3://other/a.jpg", drinks), "webhook": {"url": "http://127.0.0.1/"}, "tags": []}
    answer = client.post("/v1/recognitions", json=body).get_json()
    assert answer["code"] == "invalid_request"
    assert {error["pointer"] for error in answer["errors"]} == {"/image/url", "/webhook/url", "/tags"}


def test_a_webhook_goes_to_no_bucket(client: FlaskClient, drinks: str) -> None:
    body = {**sent("recognitions", "s3://photos/a.jpg", drinks), "webhook": {"url": "s3://photos/a"}}
    assert client.post("/v1/recognitions", json=body).get_json()["code"] == "url_invalid"


def test_a_redirect_or_an_odd_scheme_leads_to_no_bucket(client: FlaskClient, drinks: str) -> None:
    for url in ("s3:photos/a.jpg", "s3:/photos/a.jpg", "file:///etc/passwd", "gs://photos/a.jpg"):
        answer = client.post("/v1/recognitions", json=sent("recognitions", url, drinks))
        assert answer.get_json()["code"] == "url_invalid", url


def test_without_the_setting_none_is_open(settings: Settings) -> None:
    objects = dataclasses.replace(settings.objects, input_buckets=())
    app: Flask = create_app(dataclasses.replace(settings, objects=objects))
    assert app.extensions[EXTENSION]
    answer = app.test_client().post("/v1/detections", json={"image": {"url": "s3://photos/a.jpg"}})
    assert answer.get_json()["code"] == "bucket_forbidden"

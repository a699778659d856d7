"""Limits over HTTP: the headers on every answer, 429 with an honest Retry-After, and bodies without a length."""

from __future__ import annotations

import io

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.keys.store import Limits
from infra.runtime.settings import Settings
from tests.web.conftest import Hand, recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_keys(settings, requests_per_minute=4)


def recognise(client: FlaskClient, headers: dict[str, str], gallery: str) -> TestResponse:
    form = {"gallery": gallery, "image": (io.BytesIO(picture()), "a.jpg")}
    return client.post("/v1/recognitions", data=form, headers=headers)


def test_requests_of_a_minute(app: Flask, client: FlaskClient) -> None:
    one, other = bearer(app, "read"), bearer(app, "read")
    for left in (3, 2, 1, 0):
        answer = client.get("/v1/galleries", headers=one)
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"requests";q=4;w=60'
        assert answer.headers["RateLimit"].startswith(f'"requests";r={left};t=')
    refused = client.get("/v1/galleries", headers=one)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "rate_limited")
    assert refused.get_json()["retryable"] is True
    assert 1 <= int(refused.headers["Retry-After"]) <= 15
    assert refused.headers["RateLimit"].startswith('"requests";r=0')
    assert client.get("/v1/galleries", headers=other).status_code == 200
    assert client.get("/healthz", headers=one).status_code == 200
    mine = bearer(app, "read", Limits(requests_per_minute=0))
    answers = [client.get("/v1/galleries", headers=mine) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers


def test_open_jobs(app: Flask, client: FlaskClient, drinks: str, hand: Hand) -> None:
    mine = bearer(app, "recognize", Limits(requests_per_minute=0, open_jobs=1))
    job = recognise(client, mine, drinks)
    assert job.headers["RateLimit-Policy"] == '"open-jobs";q=1;qu="concurrent-requests"'
    refused = recognise(client, mine, drinks)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "open_jobs_limited")
    assert int(refused.headers["Retry-After"]) >= 1
    hand.finish(job.get_json()["id"], recognition_result())
    assert recognise(client, mine, drinks).status_code == 202


def test_bytes_of_a_day(app: Flask, client: FlaskClient, drinks: str) -> None:
    mine = bearer(app, "manage", Limits(requests_per_minute=0, bytes_per_day=1000))
    assert client.post("/v1/galleries", json={"name": "a" * 40}, headers=mine).status_code == 201
    refused = recognise(client, mine, drinks)
    assert (refused.status_code, refused.get_json()["code"], refused.get_json()["retryable"]) == (
        429, "bytes_limited", False,
    )  # fmt: skip
    assert "Retry-After" not in refused.headers
    data = b'{"name": "' + b"b" * 40 + b'"}' + b" " * 2000
    chunked = client.post(
        "/v1/galleries",
        input_stream=io.BytesIO(data),
        content_type="application/json",
        headers={**mine, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert chunked.status_code == 201  # its length was not known before
    refused = client.post("/v1/galleries", json={"name": "c"}, headers=mine)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "bytes_limited")
    assert int(refused.headers["Retry-After"]) > 60_000
    assert client.get("/v1/galleries", headers=mine).status_code == 200


def batch(client: FlaskClient, headers: dict[str, str], gallery: str, photos: int) -> TestResponse:
    form = {"gallery": gallery, "images": [(io.BytesIO(picture(seed=n)), f"{n}.jpg") for n in range(photos)]}
    return client.post("/v1/batches", data=form, headers=headers)


def test_a_batch_is_within_the_open_jobs_whole_or_not_at_all(
    app: Flask, client: FlaskClient, drinks: str, hand: Hand
) -> None:
    mine = bearer(app, "recognize", Limits(requests_per_minute=0, open_jobs=3))
    job = recognise(client, mine, drinks).get_json()
    before = hand.ledger.stats().queued
    refused = batch(client, mine, drinks, 3)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "open_jobs_limited")
    assert hand.ledger.stats().queued == before
    assert batch(client, mine, drinks, 2).status_code == 202
    assert batch(client, mine, drinks, 1).status_code == 429
    hand.finish(job["id"], recognition_result())
    assert batch(client, mine, drinks, 1).status_code == 202

"""Batches, lists, keys of requests and lanes keep to their installation's prefix."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import redis
from flask import Flask

from infra.keys.store import Limits
from infra.runtime.settings import Settings
from tests.web.conftest import Hand, fill_gallery, recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from web.services import EXTENSION


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(with_keys(settings), redis_prefix="second")


def test_everything_about_jobs_lies_below_the_prefix(app: Flask, redis_client: redis.Redis) -> None:
    service = app.extensions[EXTENSION]
    fill_gallery(service, "drinks", ["tea", "cola"])
    client = app.test_client()
    key = bearer(app, "recognize", Limits(requests_per_minute=0, open_jobs=2)) | {"Idempotency-Key": '"a"'}

    def send() -> str:
        images = [(io.BytesIO(picture(seed=seed)), f"{seed}.jpg") for seed in (1, 2)]
        answer = client.post("/v1/batches", data={"gallery": "drinks", "images": images}, headers=key)
        assert answer.status_code == 202, answer.text
        return str(answer.get_json()["id"])

    batch_id = send()
    assert send() == batch_id
    images = [(io.BytesIO(picture(seed=3)), "3.jpg")]
    more = {"gallery": "drinks", "images": images}
    assert client.post("/v1/batches", data=more, headers=key | {"Idempotency-Key": "b"}).status_code == 429
    for one in service.ledger.batches.get(batch_id).entries:
        Hand(service.ledger).finish(str(one.job_id), recognition_result())
    listed = client.get("/v1/recognitions?label=tea&status=succeeded&gallery=drinks", headers=key).get_json()
    assert len(listed["recognitions"]) == 2
    assert {str(one).split(":")[0] for one in redis_client.scan_iter("*")} == {"second"}

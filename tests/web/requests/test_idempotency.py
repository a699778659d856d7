"""Idempotency-Key: what is sent twice is made once, whoever dies in between and however the two arrive."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from infra.jobs.idempotency import KEPT_S, Idempotency, State
from infra.jobs.ledger import JobLedger
from infra.runtime.settings import Settings
from tests.infra.clock import Clock
from tests.web.conftest import Hand, recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.app import create_app
from web.services import EXTENSION, Services

URL = "/v1/recognitions"
KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


def form(seed: int = 0, **fields: Any) -> dict[str, Any]:
    return {"gallery": "drinks", "image": (io.BytesIO(picture(seed=seed)), "a.jpg"), **fields}


def jobs_in(client: redis.Redis) -> int:
    return int(client.zcard("shitu:jobs:open"))


def test_a_repetition_gets_the_same_202_and_makes_nothing(
    client: FlaskClient, drinks: str, redis_client: redis.Redis
) -> None:
    first = client.post(URL, data=form(), headers=KEY)
    again = client.post(URL, data=form(), headers={"Idempotency-Key": KEY["Idempotency-Key"].strip('"')})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.get_json()["id"] == first.get_json()["id"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert jobs_in(redis_client) == 1
    other = client.post(URL, data=form(), headers={"Idempotency-Key": '"another"'})
    assert other.get_json()["id"] != first.get_json()["id"]


def test_the_repetition_shows_the_job_as_it_is_by_then(client: FlaskClient, drinks: str, hand: Hand) -> None:
    job_id = client.post(URL, data=form(), headers=KEY).get_json()["id"]
    hand.finish(job_id, recognition_result())
    again = client.post(URL, data=form(), headers=KEY)
    assert (again.status_code, again.get_json()["status"]) == (202, "succeeded")
    waited = client.post(URL, data=form(), headers=KEY | {"Prefer": "wait=5"})
    assert (waited.status_code, waited.get_json()["id"]) == (200, job_id)


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"options": '{"top_k": 2}'}, {"webhook_url": "https://93.184.216.34/"}]
)
def test_another_payload_under_the_same_key_is_refused(
    client: FlaskClient, drinks: str, changed: dict[str, Any]
) -> None:
    client.post(URL, data=form(), headers=KEY)
    refused(client.post(URL, data=form(**changed), headers=KEY), 422, "idempotency_key_reused")


def test_json_is_compared_by_what_it_says(client: FlaskClient, drinks: str, redis_client: redis.Redis) -> None:
    text = '{"gallery": "drinks", "image": {"url": "https://93.184.216.34/a.jpg"}}'
    same = '{"image":{"url":"https://93.184.216.34/a.jpg"},\n"gallery":"drinks"}'
    other = '{"gallery": "drinks", "image": {"url": "https://93.184.216.34/b.jpg"}}'
    answers = [
        client.post(URL, data=body, content_type="application/json", headers=KEY) for body in (text, same, other)
    ]
    assert answers[0].get_json()["id"] == answers[1].get_json()["id"]
    refused(answers[2], 422, "idempotency_key_reused")
    assert jobs_in(redis_client) == 1


def test_a_key_belongs_to_its_owner_and_path(settings: Settings, drinks: str) -> None:
    app = create_app(with_keys(settings))
    client, (mine, other) = app.test_client(), (KEY | bearer(app, "manage", name=name) for name in ("a", "b"))
    first = client.post(URL, data=form(), headers=mine).get_json()["id"]
    assert client.post(URL, data=form(), headers=other).get_json()["id"] != first
    assert client.post("/v1/galleries", json={"name": "other"}, headers=mine).status_code == 201
    assert client.post(URL, data=form(), headers=mine).get_json()["id"] == first


@pytest.mark.parametrize("key", ["", '""', '"open', '"a", "b"', "two words", "é", "k" * 256, '"' + "k" * 256 + '"'])
def test_what_is_no_key_is_refused(client: FlaskClient, drinks: str, key: str) -> None:
    refused(client.post(URL, data=form(), headers={"Idempotency-Key": key}), 400, "invalid_request")


def test_a_refused_request_leaves_its_key_free(client: FlaskClient, drinks: str) -> None:
    refused(client.post(URL, data=form() | {"gallery": "nothing"}, headers=KEY), 404, "gallery_not_found")
    assert client.post(URL, data=form(), headers=KEY).status_code == 202


def test_an_enrolment_and_a_gallery_are_made_once(client: FlaskClient, drinks: str, redis_client: redis.Redis) -> None:
    def pictures() -> dict[str, Any]:
        return {"images": [(io.BytesIO(picture(seed=seed)), "a.jpg") for seed in (7, 8)], "labels": "tea"}

    url = f"/v1/galleries/{drinks}/items"
    first, again = (client.post(url, data=pictures(), headers=KEY) for _ in range(2))
    assert first.headers["Location"] == again.headers["Location"]
    assert jobs_in(redis_client) == 1
    made, remade = (client.post("/v1/galleries", json={"name": "new"}, headers=KEY) for _ in range(2))
    assert (made.status_code, remade.status_code) == (201, 201)
    assert made.get_json() == remade.get_json()
    refused(client.post("/v1/galleries", json={"name": "new"}), 409, "gallery_exists")


def test_of_many_at_once_one_makes_the_job(app: Flask, drinks: str, redis_client: redis.Redis) -> None:
    gate = threading.Barrier(8)

    def send(_: int) -> tuple[int, str | None]:
        client = app.test_client()
        gate.wait()
        response = client.post(URL, data=form(), headers=KEY)
        return response.status_code, response.headers.get("Location")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert jobs_in(redis_client) == 1
    assert {status for status, _ in answers} <= {202, 409}
    assert len({location for status, location in answers if status == 202}) == 1


class Died(BaseException):
    """The process ended here."""


def dies_in(app: Flask, monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, *, after: bool) -> None:
    """A request that is cut off before or after `owner.method`, as a killed process leaves it; then the lease lapses."""
    real = getattr(owner, method)

    def once(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(owner, method, real)
        if after:
            real(*args, **more)
        raise Died

    monkeypatch.setattr(owner, method, once)


def lapse(client: redis.Redis) -> None:
    (key,) = client.scan_iter("shitu:jobs:idempotent:*")
    client.hset(key, "until", "0")


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_a_job_is_made_costs_neither_the_key_nor_a_second_job(
    app: Flask, drinks: str, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis, after: bool
) -> None:
    client = app.test_client()
    dies_in(app, monkeypatch, JobLedger, "create", after=after)
    with pytest.raises(Died):
        client.post(URL, data=form(), headers=KEY)
    assert jobs_in(redis_client) == int(after)
    response = client.post(URL, data=form(), headers=KEY)
    if after:  # the job is there: no need to wait for the lease
        assert response.status_code == 202
    else:
        problem = refused(response, 409, "idempotency_in_progress")
        assert problem["retryable"]
        assert response.headers["Retry-After"] == "1"
    lapse(redis_client)
    response = client.post(URL, data=form(), headers=KEY)
    assert response.status_code == 202
    assert jobs_in(redis_client) == 1
    assert client.post(URL, data=form(), headers=KEY).headers["Location"] == response.headers["Location"]


def test_a_crash_after_a_gallery_was_made_is_not_answered_gallery_exists(
    app: Flask, service: Services, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    client = app.test_client()
    dies_in(app, monkeypatch, type(service.galleries), "create", after=True)
    with pytest.raises(Died):
        client.post("/v1/galleries", json={"name": "new"}, headers=KEY)
    lapse(redis_client)
    assert client.post("/v1/galleries", json={"name": "new"}, headers=KEY).status_code == 201


def test_a_failure_of_the_service_leaves_the_key_to_the_next_try(
    client: FlaskClient, drinks: str, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    """The ledger wrote the job, its reply was lost: the client is answered 503 and repeats."""
    real = JobLedger.create

    def lost(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(JobLedger, "create", real)
        real(*args, **more)
        raise redis.TimeoutError

    monkeypatch.setattr(JobLedger, "create", lost)
    refused(client.post(URL, data=form(), headers=KEY), 503, "redis_unavailable")
    assert client.post(URL, data=form(), headers=KEY).status_code == 202
    assert jobs_in(redis_client) == 1


def test_a_job_that_has_expired_is_not_made_again(
    app: Flask, drinks: str, hand: Hand, redis_client: redis.Redis
) -> None:
    service: Services = app.extensions[EXTENSION]
    client = app.test_client()
    job_id = client.post(URL, data=form(), headers=KEY).get_json()["id"]
    hand.finish(job_id, recognition_result())
    service.ledger.sweeper.retire(now=time.time() + 1e6)
    refused(client.post(URL, data=form(), headers=KEY), 410, "job_expired")
    redis_client.delete(f"shitu:tombstone:{job_id}")
    refused(client.post(URL, data=form(), headers=KEY), 410, "job_expired")


def test_keys_are_kept_a_day(redis_client: redis.Redis, clock: Clock) -> None:
    keys = Idempotency(redis_client, clock)
    assert keys.reserve("scope", "f").state is State.RESERVED
    assert keys.reserve("scope", "f").state is State.IN_PROGRESS
    assert keys.reserve("scope", "g").state is State.REUSED
    clock.pass_s(16)
    held = keys.reserve("scope", "f")
    assert held.state is State.TAKEN_OVER
    keys.answered(held, "{}")
    assert keys.reserve("scope", "f").answer == "{}"
    assert KEPT_S - 60 < redis_client.ttl("shitu:jobs:idempotent:scope") <= KEPT_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_another_deadline_is_another_request(client: FlaskClient, drinks: str) -> None:
    assert client.post(URL, data=form(), headers=KEY | {"Cancel-After": "60s"}).status_code == 202
    refused(client.post(URL, data=form(), headers=KEY | {"Cancel-After": "90s"}), 422, "idempotency_key_reused")
    refused(client.post(URL, data=form(), headers=KEY), 422, "idempotency_key_reused")
    again = client.post(URL, data=form(), headers=KEY | {"Cancel-After": "60s"})
    assert again.headers["Idempotent-Replayed"] == "true"

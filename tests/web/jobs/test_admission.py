"""Admission control: what could not be served in time is refused now, with a time that is true."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.runtime.settings import Settings
from tests.web.conftest import Hand
from tests.web.pictures import picture
from web.app import create_app
from web.services import Services


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, jobs=replace(settings.jobs, longest_wait_s=10))


def recognise(client: FlaskClient, gallery: str, **fields: str) -> TestResponse:
    form = {"gallery": gallery, "image": (io.BytesIO(picture()), "a.jpg"), **fields}
    return client.post("/v1/recognitions", data=form)


def measured(client: redis.Redis, seconds: float) -> None:
    """As if recognitions had taken so long lately."""
    client.hset(
        "shitu:jobs:service", mapping={"recognition:n": 50, "recognition:job": seconds, "recognition:unit": seconds}
    )


def test_a_backlog_that_cannot_be_served_in_time_takes_no_more(
    client: FlaskClient, service: Services, redis_client: redis.Redis, drinks: str
) -> None:
    queues = {"queues": ["recognize"], "concurrency": 2}
    service.ledger.presence.worker_ready("one", queues, ttl_s=60)
    assert recognise(client, drinks).status_code == 202  # nothing was measured yet
    measured(redis_client, 4.0)
    taken = 0
    while (answer := recognise(client, drinks)).status_code == 202:
        taken += 1
        assert taken < 20
    refused = answer.get_json()
    assert (answer.status_code, refused["code"], refused["retryable"]) == (503, "overloaded", True)
    assert refused["wait_s"] > 10
    assert int(answer.headers["Retry-After"]) == pytest.approx(refused["wait_s"] - 10, abs=1.1)
    assert recognise(client, drinks, priority="high").status_code == 202  # its lane is empty
    service.ledger.presence.worker_ready("two", queues, ttl_s=60)
    assert recognise(client, drinks).status_code == 202  # twice the workers, half the wait


def test_a_long_queue_is_polled_less_often(client: FlaskClient, service: Services, redis_client: redis.Redis) -> None:
    service.ledger.presence.worker_ready("one", {"queues": ["recognize"], "concurrency": 1}, ttl_s=60)
    photo = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}
    pauses = []
    for took_s in (0.4, 8.0, 300.0):
        measured(redis_client, took_s)
        job = service.ledger.create("recognition", photo)
        answer = client.get(f"/v1/recognitions/{job.id}")
        eta_s, pause = answer.get_json()["queue"]["eta_s"], int(answer.headers["Retry-After"])
        assert pause == min(10, max(1, round(eta_s / 2)))
        pauses.append(pause)
    assert (pauses[0], pauses[-1]) == (1, 10)


def test_what_is_refused_leaves_nothing(
    client: FlaskClient, service: Services, redis_client: redis.Redis, drinks: str
) -> None:
    recognise(client, drinks)
    measured(redis_client, 1000.0)
    before = service.ledger.stats().queued
    assert recognise(client, drinks).status_code == 503
    assert service.ledger.stats().queued == before


def test_without_workers_it_is_reckoned_with_one_so_that_a_backlog_can_wake_them(
    client: FlaskClient, redis_client: redis.Redis, drinks: str
) -> None:
    measured(redis_client, 4.0)
    answers = [recognise(client, drinks).status_code for _ in range(6)]
    assert answers == [202, 202, 202, 503, 503, 503]


def test_a_replay_is_a_job_like_any_other(
    client: FlaskClient, redis_client: redis.Redis, drinks: str, hand: Hand
) -> None:
    job = recognise(client, drinks).get_json()
    recognise(client, drinks)
    hand.fail(job["id"], "image_truncated")
    measured(redis_client, 1000.0)
    refused = client.post(f"{job['links']['self']}/replay")
    assert (refused.status_code, refused.get_json()["code"]) == (503, "overloaded")


def test_by_default_nothing_is_refused(settings: Settings, redis_client: redis.Redis) -> None:
    off = create_app(replace(settings, jobs=replace(settings.jobs, longest_wait_s=0))).test_client()
    off.post("/v1/galleries", json={"name": "drinks"})
    measured(redis_client, 10_000.0)
    assert {recognise(off, "drinks").status_code for _ in range(3)} == {202}


def test_a_batch_is_taken_only_if_its_last_photo_is_in_time(
    client: FlaskClient, redis_client: redis.Redis, drinks: str
) -> None:
    measured(redis_client, 4.0)
    photos = [(io.BytesIO(picture(seed=n)), f"{n}.jpg") for n in range(4)]
    refused = client.post("/v1/batches", data={"gallery": drinks, "images": photos})
    assert (refused.status_code, refused.get_json()["code"]) == (503, "overloaded")
    photos = [(io.BytesIO(picture(seed=n)), f"{n}.jpg") for n in range(3)]
    assert client.post("/v1/batches", data={"gallery": drinks, "images": photos}).status_code == 202

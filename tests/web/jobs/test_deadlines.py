"""Cancel-After ends what would come too late; a bare `Prefer: wait` waits as long as is allowed."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from infra.errors.jobs import CancelAfterPassed
from infra.jobs.ledger import JobLedger, JobStatus, Renewal
from infra.jobs.terms import Terms
from tests.infra.clock import Clock
from tests.infra.ledgers import JOBS, REQUEST, started
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.services import EXTENSION, Services

URL = "/v1/recognitions"


def form() -> dict[str, Any]:
    return {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg")}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(redis_client: redis.Redis, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, JOBS, now=clock)


@pytest.mark.parametrize(("sent", "seconds"), [("15s", 15), ("1m", 60), ("2h", 7200), ("1h30m", 5400), ("90", 90)])
def test_the_time_is_reported_as_a_moment(client: FlaskClient, drinks: str, sent: str, seconds: int) -> None:
    job = client.post(URL, data=form(), headers={"Cancel-After": sent}).get_json()
    service: Services = client.application.extensions[EXTENSION]
    kept = service.ledger.get(job["id"])
    assert kept.cancel_at == pytest.approx(kept.created_at + seconds, abs=0.01)
    assert job["cancel_at"] is not None


@pytest.mark.parametrize("sent", ["", "soon", "0s", "-1s", "1.5m", "15 s", "8d", "1h30", "s", "1w", "9" * 30 + "s"])
def test_what_is_no_time_is_refused_before_anything_is_kept(
    client: FlaskClient, drinks: str, redis_client: redis.Redis, sent: str
) -> None:
    refused(client.post(URL, data=form(), headers={"Cancel-After": sent}), 400, "invalid_request")
    images = {"images": [(io.BytesIO(picture()), "a.jpg")], "labels": "tea"}
    refused(
        client.post(f"/v1/galleries/{drinks}/items", data=images, headers={"Cancel-After": sent}),
        400,
        "invalid_request",
    )
    assert redis_client.zcard("shitu:jobs:open") == 0
    assert redis_client.zcard("shitu:photos:idle") == 0


def test_a_waiting_job_is_canceled_when_its_time_is_over(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST, "https://example.com/hook", terms=Terms(cancel_after_s=10))
    other = ledger.create("recognition", REQUEST)
    clock.pass_s(9)
    assert ledger.sweeper.cancel_late() == ()
    clock.pass_s(1)
    assert ledger.sweeper.cancel_late() == (job.id,)
    assert ledger.sweeper.cancel_late() == ()
    ended = ledger.get(job.id)
    assert ended.status is JobStatus.CANCELED
    assert ended.error is not None
    assert (ended.error["code"], ended.error["retryable"]) == (CancelAfterPassed.code, CancelAfterPassed.retryable)
    assert len(ledger.deliveries.due()) == 1
    assert ledger.get(other.id).status is JobStatus.QUEUED


def test_no_worker_starts_a_job_whose_time_is_over(ledger: JobLedger, clock: Clock) -> None:
    job = ledger.create("recognition", REQUEST, terms=Terms(cancel_after_s=10))
    clock.pass_s(10)  # and the keeper has not come round
    assert ledger.start(job.id) is None
    assert ledger.get(job.id).status is JobStatus.CANCELED


@pytest.mark.parametrize("keeper", [True, False])
def test_a_running_job_is_reported_to_stop(ledger: JobLedger, clock: Clock, keeper: bool) -> None:
    job = ledger.create("recognition", REQUEST, terms=Terms(cancel_after_s=10))
    lease = started(ledger, job)
    clock.pass_s(10)
    if keeper:
        assert ledger.sweeper.cancel_late() == ()
    assert ledger.renew(lease) is Renewal.CANCEL_REQUESTED
    assert ledger.finish_canceled(lease)
    ended = ledger.get(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == (JobStatus.CANCELED, "cancel_after_passed")


def test_an_answer_in_time_is_kept_and_a_replay_has_the_time_again(
    ledger: JobLedger, clock: Clock, redis_client: redis.Redis
) -> None:
    job = ledger.create("recognition", REQUEST, terms=Terms(cancel_after_s=10))
    lease = started(ledger, job)
    assert ledger.fail(lease, {"code": "x", "message": "y", "retryable": True})
    clock.pass_s(100)
    assert ledger.sweeper.cancel_late() == ()
    ledger.replay(job.id)
    lease = started(ledger, job)
    assert ledger.succeed(lease, {})
    assert redis_client.zcard("shitu:jobs:cancel_at") == 0


def test_a_bare_wait_waits_as_long_as_is_allowed(app: Flask, drinks: str) -> None:
    service: Services = app.extensions[EXTENSION]
    web = replace(service.settings.web, max_wait_s=1.0)
    app.extensions[EXTENSION] = replace(service, settings=replace(service.settings, web=web))
    started_at = time.monotonic()
    response = app.test_client().post(URL, data=form(), headers={"Prefer": "wait"})
    assert time.monotonic() - started_at >= 1.0
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=1")

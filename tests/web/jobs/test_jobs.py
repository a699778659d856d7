"""Following jobs: poll, wait, cancel, follow."""

from __future__ import annotations

import io
import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from infra.jobs.ledger import JobLedger
from infra.net.webhooks import message
from infra.runtime.settings import Settings
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.services import Services

URL = "/v1/recognitions"


@pytest.fixture
def job_id(service: Services) -> str:
    return service.ledger.create(
        "recognition", {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}
    ).id


def test_an_open_job_says_when_to_look_again(client: FlaskClient, job_id: str) -> None:
    response = client.get(f"{URL}/{job_id}")
    assert response.status_code == 200
    assert response.get_json()["status"] == "queued"
    assert response.headers["Retry-After"] == "1"


def test_a_finished_job_has_its_result_and_no_retry_after(client: FlaskClient, hand: Hand, job_id: str) -> None:
    hand.finish(job_id, recognition_result())
    response = client.get(f"{URL}/{job_id}")
    assert response.get_json()["result"] == recognition_result()
    assert "Retry-After" not in response.headers


def test_the_etag_changes_with_the_job_only(client: FlaskClient, hand: Hand, job_id: str) -> None:
    first = client.get(f"{URL}/{job_id}")
    unchanged = client.get(f"{URL}/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert unchanged.status_code == 304
    assert unchanged.data == b""
    assert unchanged.headers["Retry-After"] == "1"
    hand.finish(job_id, recognition_result())
    changed = client.get(f"{URL}/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("job_id", ["rec_00000000000000000000000000", "nonsense", "enr_x", "%2e%2e"])
def test_unknown_ids_are_not_found(client: FlaskClient, job_id: str) -> None:
    for method, path in (
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/replay"),
        ("POST", "/webhook/replay"),
        ("GET", "/events"),
        ("GET", "/image"),
    ):
        refused(client.open(f"{URL}/{job_id}{path}", method=method), 404, "job_not_found")


def test_a_job_of_another_kind_is_not_found(client: FlaskClient, job_id: str) -> None:
    refused(client.get(f"/v1/enrollments/{job_id}"), 404, "job_not_found")
    refused(client.post(f"/v1/enrollments/{job_id}/cancel"), 404, "job_not_found")
    assert client.get(f"{URL}/{job_id}").get_json()["status"] == "queued"


def test_an_expired_job_is_gone(client: FlaskClient, service: Services, hand: Hand, job_id: str) -> None:
    hand.finish(job_id, recognition_result())
    assert service.ledger.sweeper.retire(now=time.time() + service.settings.jobs.retention_s + 60) == (job_id,)
    for path in ("", "/events", "/image"):
        refused(client.get(f"{URL}/{job_id}{path}"), 410, "job_expired")


def test_canceling_may_be_repeated(client: FlaskClient, job_id: str) -> None:
    for _ in range(2):
        response = client.post(f"{URL}/{job_id}/cancel")
        assert response.status_code == 200
        assert response.get_json()["status"] == "canceled"


def test_a_finished_job_cannot_be_canceled(client: FlaskClient, hand: Hand, job_id: str) -> None:
    hand.finish(job_id, recognition_result())
    problem = refused(client.post(f"{URL}/{job_id}/cancel"), 409, "job_finished")
    assert problem["reported_status"] == "succeeded"


def test_a_failed_job_can_be_replayed(
    client: FlaskClient, hand: Hand, service: Services, redis_client: redis.Redis, job_id: str
) -> None:
    hand.fail(job_id, "job_poisoned")
    response = client.post(f"{URL}/{job_id}/replay")
    assert response.status_code == 202
    job = response.get_json()
    assert (job["status"], job["attempts"], job["error"]) == ("queued", 0, None)
    assert response.headers["Location"] == f"{URL}/{job_id}"
    (message,) = redis_client.lrange("shitu:queue:recognize", 0, -1)
    assert job_id in json.loads(str(message))["headers"]["argsrepr"]
    hand.finish(job_id, recognition_result())
    assert client.get(f"{URL}/{job_id}").get_json()["status"] == "succeeded"


@pytest.mark.parametrize("status", ["queued", "succeeded", "canceled"])
def test_only_a_failed_job_can_be_replayed(client: FlaskClient, hand: Hand, job_id: str, status: str) -> None:
    if status == "succeeded":
        hand.finish(job_id, recognition_result())
    elif status == "canceled":
        client.post(f"{URL}/{job_id}/cancel")
    problem = refused(client.post(f"{URL}/{job_id}/replay"), 409, "job_finished")
    assert problem["reported_status"] == status
    assert client.get(f"{URL}/{job_id}").get_json()["status"] == status


def test_an_enrolment_is_replayed_as_one(
    client: FlaskClient, hand: Hand, service: Services, redis_client: redis.Redis
) -> None:
    job_id = service.ledger.create("enrollment", {"gallery": "drinks", "items": [], "crop": "whole"}).id
    hand.fail(job_id, "gallery_busy")
    assert client.post(f"/v1/enrollments/{job_id}/replay").status_code == 202
    assert redis_client.llen("shitu:queue:recognize") == 0
    assert redis_client.llen("shitu:queue:enroll") == 1


def test_a_webhook_can_be_replayed(
    client: FlaskClient, hand: Hand, service: Services, redis_client: redis.Redis
) -> None:
    request = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}
    job_id = service.ledger.create("recognition", request, "https://93.184.216.34/hook").id
    refused(client.post(f"{URL}/{job_id}/webhook/replay"), 404, "delivery_not_found")  # it has not ended
    hand.finish(job_id, recognition_result())
    webhook = client.get(f"{URL}/{job_id}").get_json()["webhook"]
    delivery = service.ledger.deliveries.take(webhook["id"])
    assert delivery is not None
    service.ledger.deliveries.failed(delivery, "gone", status=410)
    response = client.post(f"{URL}/{job_id}/webhook/replay")
    assert response.status_code == 202
    report = response.get_json()["webhook"]
    assert (report["id"], report["status"]) == (webhook["id"], "pending")
    assert webhook["id"] in str(redis_client.lrange("shitu:queue:deliver", 0, -1))
    again = service.ledger.deliveries.take(webhook["id"])
    assert again is not None
    assert again.attempts == 1


def test_a_job_without_a_webhook_has_none_to_replay(client: FlaskClient, hand: Hand, job_id: str) -> None:
    hand.finish(job_id, recognition_result())
    refused(client.post(f"{URL}/{job_id}/webhook/replay"), 404, "delivery_not_found")


def finish_later(hand: Hand, ledger: JobLedger) -> threading.Thread:
    """Finishes the one queued job as soon as there is one, as a quick worker would."""

    def work() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            queued = ledger.sweeper.overdue(now=time.time() + 1e6)
            if queued:
                hand.finish(queued[0], recognition_result())
                return
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def form() -> dict[str, Any]:
    return {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg")}


def test_prefer_wait_answers_with_the_finished_job(
    client: FlaskClient, hand: Hand, service: Services, drinks: str
) -> None:
    worker = finish_later(hand, service.ledger)
    response = client.post(URL, data=form(), headers={"Prefer": "respond-async, wait=20"})
    worker.join()
    assert response.status_code == 200
    assert response.get_json()["status"] == "succeeded"
    assert response.headers["Preference-Applied"] == "wait=20"
    assert "Prefer" in response.headers["Vary"]
    assert response.headers["Location"].endswith(response.get_json()["id"])


def test_prefer_wait_ends_with_202_when_the_time_is_up(settings: Settings, app: Flask, drinks: str) -> None:
    service: Services = app.extensions["shitu"]
    app.extensions["shitu"] = replace(service, settings=replace(settings, web=replace(settings.web, max_wait_s=0.2)))
    started = time.monotonic()
    response = app.test_client().post(URL, data=form(), headers={"Prefer": "wait=1000"})
    assert time.monotonic() - started < 5
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=0"


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "handling=strict", "waiting"])
def test_preferences_that_mean_nothing_are_ignored(client: FlaskClient, drinks: str, prefer: str) -> None:
    response = client.post(URL, data=form(), headers={"Prefer": prefer})
    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_waiting_also_works_on_a_poll(client: FlaskClient, hand: Hand, service: Services, job_id: str) -> None:
    worker = finish_later(hand, service.ledger)
    response = client.get(f"{URL}/{job_id}", headers={"Prefer": "wait=20"})
    worker.join()
    assert response.get_json()["status"] == "succeeded"


def read_events(text: str) -> list[tuple[str, str, str]]:
    """(event, id, status of the job) of each event of a stream."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            events.append((fields["event"], fields["id"], json.loads(fields["data"])["status"]))
    return events


def test_the_stream_of_a_finished_job_is_its_end(client: FlaskClient, hand: Hand, job_id: str) -> None:
    hand.finish(job_id, recognition_result())
    response = client.get(f"{URL}/{job_id}/events")
    assert response.content_type == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert [(name, status) for name, _, status in read_events(response.text)] == [("completed", "succeeded")]


def test_the_stream_says_changes_as_they_happen_and_then_ends(client: FlaskClient, hand: Hand, job_id: str) -> None:
    response = client.get(f"{URL}/{job_id}/events", buffered=False)
    report = response.iter_encoded()
    text = ""
    while "event: status" not in text:  # queued has been reported
        text += next(report).decode()
    hand.finish(job_id, recognition_result())
    text += b"".join(report).decode()
    statuses = [(name, status) for name, _, status in read_events(text)]
    assert statuses[0] == ("status", "queued")
    assert statuses[-1] == ("completed", "succeeded")
    response.close()


def test_a_stream_resumes_after_the_last_event(client: FlaskClient, hand: Hand, job_id: str) -> None:
    hand.finish(job_id, recognition_result())
    (_, last_id, _) = read_events(client.get(f"{URL}/{job_id}/events").text)[-1]
    response = client.get(f"{URL}/{job_id}/events", headers={"Last-Event-ID": last_id})
    assert response.status_code == 204  # an EventSource that gets this does not come back
    early = client.get(f"{URL}/{job_id}/events", headers={"Last-Event-ID": "1-0"})
    assert [name for name, _, _ in read_events(early.text)] == ["completed"]
    refused(client.get(f"{URL}/{job_id}/events", headers={"Last-Event-ID": "yesterday"}), 400, "invalid_cursor")


def test_a_result_with_a_label_that_is_no_text_is_reported_everywhere(
    client: FlaskClient, hand: Hand, service: Services, job_id: str
) -> None:
    result = recognition_result()
    result["recognitions"][0]["label"] = "\udcbf\udcc9"  # as a gallery from before the rule for labels gave it
    hand.finish(job_id, result)
    answer = client.get(f"{URL}/{job_id}")
    assert answer.status_code == 200
    assert json.loads(answer.data.decode())["result"]["recognitions"][0]["label"] == "\ufffd\ufffd"
    assert "\ufffd\ufffd" in client.get(f"{URL}/{job_id}/events").data.decode()
    assert "\ufffd\ufffd" in message(service.ledger.feed.read().events[0]).decode()

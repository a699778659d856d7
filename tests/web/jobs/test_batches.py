"""Many photos in one request: one job each, accepted together, reported as one."""

from __future__ import annotations

import csv
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

from contracts.jobs import JobKind
from infra.jobs.batches import Batches, job_id_of
from infra.jobs.ledger import JobLedger
from infra.keys.store import Limits
from infra.runtime.settings import Settings
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.jobs.batches import csv_of
from web.routes import description
from web.services import EXTENSION, Services

URL = "/v1/batches"
KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


def form(count: int = 3, bad: int = 0, **fields: Any) -> dict[str, Any]:
    images = [(io.BytesIO(picture(seed=seed)), f"{seed}.jpg") for seed in range(count)]
    images += [(io.BytesIO(b"no picture"), f"bad{number}.txt") for number in range(bad)]
    return {"gallery": "drinks", "images": images, **fields}


def open_jobs(client: redis.Redis) -> int:
    return int(client.zcard("shitu:jobs:open"))


def test_each_photo_becomes_a_job(client: FlaskClient, drinks: str, redis_client: redis.Redis) -> None:
    response = client.post(
        URL,
        data=form(metadata='{"order": "1"}', priority="low", options='{"top_k": 2}'),
        headers={"Cancel-After": "1h"},
    )
    batch = response.get_json()
    check(batch, "Batch", description())
    assert (response.status_code, response.headers["Location"]) == (202, f"{URL}/{batch['id']}")
    assert response.headers["Retry-After"] == "1"
    assert (batch["status"], batch["counts"]["total"], batch["counts"]["queued"]) == ("queued", 3, 3)
    assert [one["name"] for one in batch["jobs"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert batch["queue"]["position"] == 3
    job = client.get(batch["jobs"][1]["links"]["self"]).get_json()
    assert (job["batch"], job["metadata"], job["priority"]) == (batch["id"], {"order": "1"}, "low")
    assert job["cancel_at"] is not None
    assert job["request"]["options"] == {"top_k": 2}
    assert len({client.get(one["links"]["self"]).get_json()["request"]["image"]["key"] for one in batch["jobs"]}) == 3
    assert (open_jobs(redis_client), redis_client.llen("shitu:queue:recognize")) == (3, 3)
    listed = client.get("/v1/recognitions").get_json()["recognitions"]
    assert [one["id"] for one in listed] == [one["id"] for one in batch["jobs"]][::-1]


def test_a_bad_photo_holds_up_no_other(client: FlaskClient, drinks: str, redis_client: redis.Redis) -> None:
    batch = client.post(URL, data=form(2, bad=1)).get_json()
    check(batch, "Batch", description())
    assert (batch["counts"]["queued"], batch["counts"]["rejected"]) == (2, 1)
    bad = batch["jobs"][2]
    assert (bad["status"], bad["id"], bad["links"]) == ("rejected", None, None)
    assert bad["error"]["code"] == "image_not_an_image"
    assert open_jobs(redis_client) == 2
    problem = refused(client.post(URL, data=form(0, bad=2)), 422, "image_rejected")
    assert [one["pointer"] for one in problem["errors"]] == ["/images/0", "/images/1"]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"gallery": "nothing"}, 404, "gallery_not_found"),
        ({"options": '{"top_k": 0}'}, 422, "invalid_options"),
        ({"image": (io.BytesIO(b"x"), "a.jpg")}, 400, "invalid_request"),
        ({"webhook_url": "http://127.0.0.1/"}, 422, "address_forbidden"),
    ],
)
def test_what_is_wrong_is_refused_whole(
    client: FlaskClient, drinks: str, redis_client: redis.Redis, changed: dict[str, Any], status: int, code: str
) -> None:
    refused(client.post(URL, data=form() | changed), status, code)
    assert open_jobs(redis_client) == 0
    refused(client.post(URL, data="photos", content_type="text/plain"), 415, "unsupported_media_type")


def test_several_galleries_are_refused_with_where_they_are_taken(client: FlaskClient, drinks: str) -> None:
    problem = refused(client.post(URL, data=form() | {"gallery": [drinks, "snacks"]}), 400, "invalid_request")
    detail = "a batch takes one gallery; a request to /v1/recognitions takes several"
    assert problem["errors"] == [{"pointer": "/gallery", "detail": detail}]


def finish_all(hand: Hand, batch: dict[str, Any]) -> None:
    for one in batch["jobs"]:
        if one["id"]:
            hand.finish(one["id"], recognition_result())


def test_it_ends_with_its_last_job_and_a_replay_opens_it_again(
    client: FlaskClient, hand: Hand, service: Services, drinks: str
) -> None:
    batch = client.post(URL, data=form(2, bad=1)).get_json()
    first, second = (one["id"] for one in batch["jobs"][:2])
    hand.finish(first, recognition_result())
    shown = client.get(f"{URL}/{batch['id']}").get_json()
    assert (shown["status"], shown["counts"]["succeeded"], shown["completed_at"]) == ("processing", 1, None)
    hand.fail(second, "image_truncated")
    shown = client.get(f"{URL}/{batch['id']}").get_json()
    assert (shown["status"], shown["counts"]["failed"]) == ("completed", 1)
    assert shown["expires_at"] > shown["completed_at"]
    assert "queue" not in shown
    client.post(f"/v1/recognitions/{second}/replay")
    shown = client.get(f"{URL}/{batch['id']}").get_json()
    assert (shown["status"], shown["completed_at"]) == ("processing", None)
    hand.finish(second, recognition_result())
    assert client.get(f"{URL}/{batch['id']}").get_json()["counts"]["succeeded"] == 2


def test_the_etag_changes_with_its_jobs(client: FlaskClient, hand: Hand, drinks: str) -> None:
    batch = client.post(URL, data=form(2)).get_json()
    tag = client.get(f"{URL}/{batch['id']}").headers["ETag"]
    assert client.get(f"{URL}/{batch['id']}", headers={"If-None-Match": tag}).status_code == 304
    hand.finish(batch["jobs"][0]["id"], recognition_result())
    assert client.get(f"{URL}/{batch['id']}", headers={"If-None-Match": tag}).status_code == 200


def test_canceling_ends_what_is_open(client: FlaskClient, hand: Hand, drinks: str, redis_client: redis.Redis) -> None:
    batch = client.post(URL, data=form(3)).get_json()
    hand.finish(batch["jobs"][0]["id"], recognition_result())
    for _ in range(2):
        response = client.post(f"{URL}/{batch['id']}/cancel")
        assert response.status_code == 200
        report = response.get_json()
        assert (report["status"], report["counts"]["canceled"], report["counts"]["succeeded"]) == ("canceled", 2, 1)
    assert open_jobs(redis_client) == 0
    done = client.post(URL, data=form(1)).get_json()
    finish_all(hand, done)
    refused(client.post(f"{URL}/{done['id']}/cancel"), 409, "job_finished")


def test_one_stream_says_all_jobs_and_the_end(client: FlaskClient, hand: Hand, drinks: str) -> None:
    batch = client.post(URL, data=form(2)).get_json()
    response = client.get(f"{URL}/{batch['id']}/events", buffered=False)
    report = response.iter_encoded()
    text = ""
    while text.count("event: job") < 2:
        text += next(report).decode()
    finish_all(hand, batch)
    text += b"".join(report).decode()
    response.close()
    events = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if "data" in block
    ]
    assert [one["event"] for one in events[:2]] == ["job", "job"]
    ended = [json.loads(one["data"]) for one in events if one["event"] == "job"][2:]
    assert {one["id"] for one in ended if one["status"] == "succeeded"} == {one["id"] for one in batch["jobs"]}
    assert events[-1]["event"] == "completed"
    assert json.loads(events[-1]["data"])["status"] == "completed"
    again = client.get(f"{URL}/{batch['id']}/events", headers={"Last-Event-ID": events[-1]["id"]})
    assert again.status_code == 204
    refused(client.get(f"{URL}/{batch['id']}/events", headers={"Last-Event-ID": "x"}), 400, "invalid_cursor")


def test_waiting_for_all(client: FlaskClient, hand: Hand, service: Services, drinks: str) -> None:
    def work() -> None:
        deadline = time.monotonic() + 10
        left = 2
        while left and time.monotonic() < deadline:
            for job_id in service.ledger.sweeper.overdue(now=time.time() + 1e6):
                hand.finish(job_id, recognition_result())
                left -= 1

    worker = threading.Thread(target=work)
    worker.start()
    response = client.post(URL, data=form(2), headers={"Prefer": "wait=20"})
    worker.join()
    assert (response.status_code, response.get_json()["status"]) == (200, "completed")
    assert response.headers["Preference-Applied"] == "wait=20"


def test_the_results_as_lines_and_as_rows(client: FlaskClient, hand: Hand, drinks: str) -> None:
    batch = client.post(URL, data=form(3, bad=1)).get_json()
    first, second, third, _ = (one["id"] for one in batch["jobs"])
    hand.finish(first, recognition_result())
    hand.fail(second, "image_truncated")
    response = client.get(f"{URL}/{batch['id']}/results")
    assert response.content_type.startswith("application/x-ndjson")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [(one["index"], one["id"], one["status"]) for one in lines] == [
        (0, first, "succeeded"),
        (1, second, "failed"),
        (2, third, "queued"),
        (3, None, "rejected"),
    ]
    assert lines[0]["result"] == recognition_result()
    assert lines[1]["error"]["code"] == "image_truncated"
    response = client.get(f"{URL}/{batch['id']}/results?format=csv")
    assert response.content_type.startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["name"], row["label"], row["x2"], row["error"]) for row in rows] == [
        ("0.jpg", "tea", "260", ""),
        ("1.jpg", "", "", "image_truncated"),
        ("2.jpg", "", "", ""),
        ("bad0.txt", "", "", "image_not_an_image"),
    ]
    refused(client.get(f"{URL}/{batch['id']}/results?format=xml"), 400, "invalid_request")


def test_unknown_and_expired_ones(client: FlaskClient, hand: Hand, drinks: str, redis_client: redis.Redis) -> None:
    for batch_id in ("bat_00000000000000000000000000", "nonsense", "rec_00000000000000000000000000"):
        for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/results")):
            refused(client.open(f"{URL}/{batch_id}{path}", method=method), 404, "batch_not_found")
    batch = client.post(URL, data=form(1)).get_json()
    finish_all(hand, batch)
    key = f"shitu:jobs:batch:{batch['id']}"
    assert 86_000 < redis_client.ttl(key) <= 86_400
    redis_client.delete(key)  # as its end of life does
    refused(client.get(f"{URL}/{batch['id']}"), 410, "batch_expired")


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_leaves_the_whole_batch_or_nothing_and_a_repetition_duplicates_nothing(
    app: Flask, drinks: str, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis, after: bool
) -> None:
    real = Batches.create

    def dies(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(Batches, "create", real)
        if after:
            real(*args, **more)
        raise Died

    monkeypatch.setattr(Batches, "create", dies)
    client = app.test_client()
    with pytest.raises(Died):
        client.post(URL, data=form(3), headers=KEY)
    assert open_jobs(redis_client) == (3 if after else 0)
    (key,) = redis_client.scan_iter("shitu:jobs:idempotent:*")
    redis_client.hset(key, "until", "0")
    first, again = (client.post(URL, data=form(3), headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert open_jobs(redis_client) == 3
    assert redis_client.llen("shitu:queue:recognize") >= 3


def test_a_crash_in_the_midst_of_the_jobs_creation_creates_none(
    app: Flask, drinks: str, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    real, times = JobLedger.create_in, [0]

    def dies_at_the_second(*args: Any, **more: Any) -> None:
        times[0] += 1
        if times[0] == 2:
            raise Died
        real(*args, **more)

    monkeypatch.setattr(JobLedger, "create_in", dies_at_the_second)
    with pytest.raises(Died):
        app.test_client().post(URL, data=form(3))
    assert open_jobs(redis_client) == 0
    assert list(redis_client.scan_iter("shitu:jobs:batch:*")) == []


def test_the_ids_of_its_jobs_follow_from_its_own_and_sort() -> None:
    ids = [job_id_of("bat_01kb0000000000000000000zzz", JobKind.RECOGNITION, index) for index in range(40)]
    assert ids == sorted(set(ids))


def test_a_key_may_not_have_more_open_jobs_by_a_batch(
    app: Flask, settings: Settings, drinks: str, hand: Hand, redis_client: redis.Redis
) -> None:
    service: Services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(service, settings=with_keys(settings))
    client = app.test_client()
    mine = bearer(app, "recognize", Limits(requests_per_minute=0, open_jobs=3))
    problem = refused(client.post(URL, data=form(4), headers=mine), 429, "open_jobs_limited")
    assert "4" in problem["detail"]
    assert (open_jobs(redis_client), list(redis_client.scan_iter("shitu:jobs:batch:*"))) == (0, [])
    batch = client.post(URL, data=form(3), headers=mine | KEY)
    assert batch.status_code == 202
    refused(client.post(URL, data=form(1), headers=mine), 429, "open_jobs_limited")
    assert client.post(URL, data=form(3), headers=mine | KEY).headers["Location"] == batch.headers["Location"]
    assert open_jobs(redis_client) == 3
    finish_all(hand, batch.get_json())
    assert client.post(URL, data=form(1), headers=mine).status_code == 202


def test_a_batch_that_cannot_be_served_in_time_is_refused_whole(
    app: Flask, drinks: str, redis_client: redis.Redis
) -> None:
    service: Services = app.extensions[EXTENSION]
    jobs = replace(service.settings.jobs, longest_wait_s=10)
    app.extensions[EXTENSION] = replace(service, settings=replace(service.settings, jobs=jobs))
    service.ledger.presence.worker_ready("one", {"queues": ["recognize"], "concurrency": 1}, ttl_s=60)
    times = {"recognition:n": 50, "recognition:job": 4.0, "recognition:unit": 4.0}
    redis_client.hset("shitu:jobs:service", mapping=times)
    refused(app.test_client().post(URL, data=form(6)), 503, "overloaded")
    assert open_jobs(redis_client) == 0
    assert app.test_client().post(URL, data=form(2)).status_code == 202


def test_csv_says_why_nothing_was_recognised_and_holds_no_formula() -> None:
    result = {**recognition_result(), "recognitions": [], "reason": None}
    result["dropped"] = [
        {"reason": "below_min_precision", "candidates": [{"label": "=HYPERLINK(1)", "probability": 0.4}]},
        {"reason": "below_min_precision", "candidates": [{"label": "tea", "probability": 0.1}]},
    ]
    row: Any = {"index": 0, "name": "=1+1.jpg", "id": "rec_0", "status": "succeeded", "result": result, "error": None}
    (report,) = csv.DictReader(io.StringIO("".join(csv_of([row]))))
    assert (report["name"], report["reason"], report["candidate"]) == (
        "'=1+1.jpg",
        "below_min_precision",
        "'=HYPERLINK(1)",
    )

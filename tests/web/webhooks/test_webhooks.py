"""Endpoints, their messages and the feed over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from json import loads
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from infra.jobs.ledger import JobLedger
from infra.net.webhooks import deliver
from tests.infra.local_servers import serving
from tests.web.conftest import Hand
from tests.web.refusals import refused
from web.services import Services

URL = "/v1/webhooks"
HOOK = "https://hooks.example/shitu"


def created(client: FlaskClient, **changes: Any) -> dict[str, Any]:
    response = client.post(URL, json={"url": HOOK, **changes})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.get_json()
    assert response.headers["Location"] == answer["links"]["self"]
    return answer


@pytest.fixture
def end(service: Services, hand: Hand) -> Callable[..., str]:
    """Ends a job, and gives its id."""

    def one(how: str = "succeeded") -> str:
        job_id = service.ledger.create("recognition", {"gallery": "drinks", "image": {"key": "x"}, "options": {}}).id
        if how == "failed":
            hand.fail(job_id, "image_truncated")
        else:
            hand.finish(job_id, {"recognitions": []})
        return job_id

    return one


def attempt(ledger: JobLedger, delivery_id: str, status: int) -> None:
    delivery = ledger.deliveries.take(delivery_id)
    assert delivery is not None
    if status < 300:
        ledger.deliveries.delivered(delivery, status)
    else:
        ledger.deliveries.failed(delivery, f"HTTP {status}", status=status)


def test_an_endpoint_is_registered_shown_changed_and_deleted(client: FlaskClient, redis_client: redis.Redis) -> None:
    made = created(client, events=["recognition.*", "recognition.*"], description="the shop")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["public_key"].startswith("whpk_")
    assert (made["events"], made["enabled"], made["disabled"]) == (["recognition.*"], True, None)
    link = made["links"]["self"]
    assert client.get(link).get_json() == made
    assert client.get(URL).get_json() == {"webhooks": [made]}
    off = client.patch(link, json={"enabled": False}).get_json()
    assert off["disabled"]["reason"] == "by_request"
    changed = client.patch(link, json={"enabled": True, "url": HOOK + "/2", "events": ["*"]}).get_json()
    assert (changed["url"], changed["events"], changed["disabled"]) == (HOOK + "/2", ["*"], None)
    assert changed["description"] == "the shop"
    for key in redis_client.scan_iter("shitu:webhook:*"):
        assert secret.removeprefix("whsec_") not in str(redis_client.hgetall(key))
    assert client.delete(link).status_code == 204
    refused(client.get(link), 404, "webhook_not_found")
    assert client.get(URL).get_json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("body", "status", "code", "pointers"),
    [
        ({}, 400, "invalid_request", ["/url"]),
        ({"url": HOOK, "events": []}, 400, "invalid_request", ["/events"]),
        ({"url": HOOK, "events": ["*", "recognition.done"]}, 400, "invalid_request", ["/events/1"]),
        ({"url": 1, "enabled": "yes"}, 400, "invalid_request", ["/url", "/enabled"]),
        ({"url": HOOK, "description": "x" * 201}, 400, "invalid_request", ["/description"]),
        ({"url": HOOK, "secret": "whsec_x"}, 400, "invalid_request", ["/secret"]),
        ({"url": "ftp://hooks.example"}, 422, "url_invalid", ["/url"]),
        ({"url": "http://127.0.0.1/"}, 422, "address_forbidden", ["/url"]),
        ({"url": "http://10.0.0.1/", "description": 7}, 400, "invalid_request", ["/description", "/url"]),
    ],
)
def test_a_wrong_endpoint_is_refused(
    client: FlaskClient, body: dict[str, Any], status: int, code: str, pointers: list[str]
) -> None:
    problem = refused(client.post(URL, json=body), status, code)
    assert [error["pointer"] for error in problem.get("errors", [])] == pointers
    if "url" in body:
        link = created(client)["links"]["self"]
        problem = refused(client.patch(link, json=body), status, code)
        assert [error["pointer"] for error in problem.get("errors", [])] == pointers


def test_nothing_is_changed_by_null_or_as_a_form(client: FlaskClient) -> None:
    link = created(client)["links"]["self"]
    refused(client.patch(link, json={"url": None}), 400, "invalid_request")
    refused(client.patch(link, data={"url": HOOK}), 415, "unsupported_media_type")
    refused(client.patch(f"{URL}/whk_x", json={}), 404, "webhook_not_found")
    assert client.patch(link, json={}).status_code == 200


def test_rotation_shows_the_new_secret_and_how_long_both_are_good(client: FlaskClient) -> None:
    made = created(client)
    link = made["links"]["rotate"]
    rotated = client.post(link).get_json()
    assert rotated["secret"] != made["secret"]
    assert rotated["public_key"] != made["public_key"]
    assert rotated["previous_keys"]["public_key"] == made["public_key"]
    until = datetime.fromisoformat(rotated["previous_keys"]["valid_until"])
    assert abs(until - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)
    at_once = client.post(link, json={"overlap_s": 0.0}).get_json()
    assert at_once["previous_keys"] is None
    for wrong in ({"overlap_s": -1}, {"overlap_s": 10**9}, {"overlap": 1}):
        refused(client.post(link, json=wrong), 400, "invalid_request")
    refused(client.post(f"{URL}/whk_x/rotate"), 404, "webhook_not_found")


def test_the_log_has_what_was_sent_and_answered(
    client: FlaskClient, service: Services, end: Callable[..., str]
) -> None:
    link = created(client)["links"]["deliveries"]
    job_ids = [end() for _ in range(3)]
    first = client.get(link, query_string={"limit": 2}).get_json()
    rest = client.get(link, query_string={"limit": 2, "after": first["next_after"]}).get_json()
    listed = first["deliveries"] + rest["deliveries"]
    assert [one["job_id"] for one in listed] == job_ids[::-1]
    assert rest["next_after"] is None
    attempt(service.ledger, listed[0]["id"], 500)
    assert client.get(link, query_string={"status": "delivered"}).get_json()["deliveries"] == []
    one = client.get(listed[0]["links"]["self"]).get_json()
    assert one["log"][0]["status"] == 500
    [event] = [event for event in client.get("/v1/events").get_json()["events"] if event["id"] == one["event_id"]]
    assert one["body"] == {name: event[name] for name in ("type", "timestamp", "data")}
    assert client.get(f"/v1/deliveries/{one['id']}").get_json() == one
    refused(client.get(link, query_string={"status": "x"}), 400, "invalid_request")
    refused(client.get(link, query_string={"after": "dlv_x"}), 404, "delivery_not_found")
    other = created(client)["links"]["deliveries"]
    refused(client.get(f"{other}/{one['id']}"), 404, "delivery_not_found")


def test_one_is_replayed_or_stopped(client: FlaskClient, service: Services, end: Callable[..., str]) -> None:
    made = created(client)
    end()
    [listed] = client.get(made["links"]["deliveries"]).get_json()["deliveries"]
    stopped = client.post(listed["links"]["stop"])
    assert (stopped.status_code, stopped.get_json()["status"]) == (200, "stopped")
    refused(client.post(listed["links"]["stop"]), 409, "delivery_finished")
    replayed = client.post(listed["links"]["replay"])
    assert (replayed.status_code, replayed.get_json()["status"]) == (202, "pending")
    attempt(service.ledger, listed["id"], 410)
    assert client.get(made["links"]["self"]).get_json()["disabled"]["reason"] == "gone"
    refused(client.post(listed["links"]["replay"]), 409, "webhook_disabled")
    refused(client.post(f"/v1/deliveries/{listed['id']}/replay"), 409, "webhook_disabled")
    client.patch(made["links"]["self"], json={"enabled": True})
    assert client.post(f"/v1/deliveries/{listed['id']}/replay").status_code == 202


def test_the_message_to_a_jobs_own_webhook_is_looked_at_and_stopped_too(client: FlaskClient, service: Services) -> None:
    job = service.ledger.create("recognition", {"gallery": "drinks", "image": {"key": "x"}, "options": {}}, HOOK)
    service.ledger.cancel(job.id)
    webhook = client.get(f"/v1/recognitions/{job.id}").get_json()["webhook"]
    link = f"/v1/deliveries/{webhook['id']}"
    found = client.get(link).get_json()
    assert (found["webhook_id"], found["url"], found["body"]["type"]) == (None, HOOK, "recognition.canceled")
    assert client.post(f"{link}/stop").get_json()["status"] == "stopped"
    assert client.get(f"/v1/recognitions/{job.id}").get_json()["webhook"]["status"] == "stopped"
    assert client.post(f"{link}/replay").status_code == 202
    refused(client.get("/v1/deliveries/msg_x"), 404, "delivery_not_found")


def test_a_range_is_replayed(client: FlaskClient, service: Services, end: Callable[..., str]) -> None:
    made = created(client)
    link = made["links"]["self"] + "/replay"
    began = datetime.now(UTC) - timedelta(seconds=5)
    end()
    end("failed")
    bad, good = (one["id"] for one in client.get(made["links"]["deliveries"]).get_json()["deliveries"])
    attempt(service.ledger, good, 204)
    attempt(service.ledger, bad, 410)
    refused(client.post(link, json={"since": began.isoformat()}), 409, "webhook_disabled")
    end()  # while it is disabled
    client.patch(made["links"]["self"], json={"enabled": True})

    def replayed(**how: Any) -> int:
        answer = client.post(link, json={"since": began.isoformat(), **how})
        assert answer.status_code == 202, answer.text
        count: int = answer.get_json()["replayed"]
        return count

    assert replayed(until=(began - timedelta(days=-1)).isoformat(), only="missing") == 1
    assert replayed(only="missing") == 0
    assert replayed() == 1
    assert replayed() == 0  # it is pending now
    assert replayed(until=began.replace(year=began.year + 1).isoformat(), only="all") == 3
    assert replayed(until=(began + timedelta(seconds=1)).isoformat()) == 0
    for wrong in (
        {},
        {"since": "yesterday"},
        {"since": "2026-01-31T12:00:00"},
        {"since": began.isoformat(), "only": "x"},
    ):
        refused(client.post(link, json=wrong), 400, "invalid_request")
    problem = refused(
        client.post(link, json={"since": began.isoformat(), "until": began.isoformat()}), 400, "invalid_request"
    )
    assert problem["errors"][0]["pointer"] == "/until"


def test_a_test_waits_for_its_answer(client: FlaskClient, service: Services) -> None:
    made = created(client)
    at_once = client.post(made["links"]["test"])
    assert (at_once.status_code, at_once.get_json()["type"]) == (202, "webhook.test")
    assert at_once.headers["Location"] == at_once.get_json()["links"]["self"]
    hanging = threading.Event()

    def courier() -> None:
        while not hanging.wait(0.02):
            for delivery_id in service.ledger.deliveries.due():
                attempt(service.ledger, delivery_id, 204)

    thread = threading.Thread(target=courier)
    thread.start()
    try:
        waited = client.post(made["links"]["test"], headers={"Prefer": "wait=20"})
    finally:
        hanging.set()
        thread.join()
    assert (waited.status_code, waited.get_json()["status"]) == (200, "delivered")
    assert waited.headers["Preference-Applied"] == "wait=20"
    assert client.get(waited.headers["Location"]).get_json()["body"]["type"] == "webhook.test"


def test_the_feed_is_read_by_cursor_and_waited_for(client: FlaskClient, end: Callable[..., str]) -> None:
    start = client.get("/v1/events").get_json()
    assert (start["events"], start["more"]) == ([], False)
    job_ids = [end(), end("failed"), end()]
    seen = []
    page: dict[str, Any] = {"next_after": start["next_after"], "more": True}
    while page["more"]:
        page = client.get("/v1/events", query_string={"after": page["next_after"], "limit": 2}).get_json()
        seen += page["events"]
    assert [one["data"]["id"] for one in seen] == job_ids
    assert [one["type"] for one in seen] == ["recognition.succeeded", "recognition.failed", "recognition.succeeded"]
    empty = client.get("/v1/events", query_string={"after": page["next_after"]}, headers={"Prefer": "wait=0"})
    assert empty.headers["Preference-Applied"] == "wait=0"
    timer = threading.Timer(0.1, end)
    timer.start()
    began = time.monotonic()
    waited = client.get("/v1/events?after=latest", headers={"Prefer": "wait"})
    timer.join()
    assert time.monotonic() - began < 10
    assert len(waited.get_json()["events"]) == 1
    assert waited.headers["Vary"] == "Prefer"


def test_wrong_cursors(client: FlaskClient, end: Callable[..., str], redis_client: redis.Redis) -> None:
    refused(client.get("/v1/events?after=x"), 400, "invalid_cursor")
    refused(client.get("/v1/events?limit=0"), 400, "invalid_request")
    refused(client.get("/v1/events?since=x"), 400, "invalid_request")
    end()
    cursor = client.get("/v1/events").get_json()["next_after"]
    redis_client.flushall()
    end()
    problem = refused(client.get("/v1/events", query_string={"after": cursor}), 410, "events_expired")
    again = client.get("/v1/events", query_string={"after": problem["oldest"]}).get_json()
    assert len(again["events"]) == 1


def test_the_feed_has_exactly_what_a_webhook_sends(
    client: FlaskClient, service: Services, end: Callable[..., str]
) -> None:
    webhooks = replace(service.settings.webhooks, allowed_hosts=("127.0.0.1",))
    with serving() as receiver:
        receiver.paths["/hook"] = (204, {}, b"")
        made = created(client)
        service.ledger.endpoints.update(made["id"], url=receiver.url("/hook"))
        for how in ("succeeded", "failed", "succeeded"):
            end(how)
            for delivery_id in service.ledger.deliveries.due():
                deliver(service.ledger, delivery_id, replace(service.settings, webhooks=webhooks))
    sent = [(headers["webhook-id"], body) for _, _, headers, body in receiver.requests]
    report = client.get("/v1/events").get_json()["events"]
    assert [(one["id"], {name: one[name] for name in ("type", "timestamp", "data")}) for one in report] == [
        (webhook_id, loads(body)) for webhook_id, body in sent
    ]


def test_concurrent_requests_register_no_more_than_there_may_be(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.jobs.endpoints.MOST", 5)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().post(URL, json={"url": HOOK}).status_code, range(16)))
    assert sorted(answers) == [201] * 5 + [409] * 11
    assert len(client.get(URL).get_json()["webhooks"]) == 5


def test_a_change_does_not_bring_a_deleted_endpoint_back(
    app: Flask, client: FlaskClient, redis_client: redis.Redis
) -> None:
    link = created(client)["links"]["self"]

    def both(number: int) -> None:
        one = app.test_client()
        one.patch(link, json={"enabled": bool(number % 2)})
        one.post(f"{link}/rotate")
        one.delete(link)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(both, range(8)))
    refused(client.get(link), 404, "webhook_not_found")
    assert list(redis_client.scan_iter("shitu:webhook*")) == []


@pytest.mark.parametrize("name", ["..", "whk_" + "0" * 26 + "%0a", "*", "x" * 3000])
def test_no_other_name_finds_an_endpoint(client: FlaskClient, name: str) -> None:
    created(client)
    for path in ("", "/deliveries", "/deliveries/x"):
        assert client.get(f"{URL}/{name}{path}").status_code == 404

"""A registered endpoint and the feed of the running service: the same events, from real processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from contracts.webhook_signatures import verify_webhook
from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, pattern, wait_for
from tests.infra.local_servers import serving
from tests.openapi_checks import check


def test_an_endpoint_and_the_feed_say_the_same(service: Service) -> None:
    document = service.get("/openapi.json")
    with serving() as receiver:
        receiver.paths["/hook"] = (204, {}, b"")
        answer = service.http.post(
            f"{service.base_url}/v1/webhooks",
            json={"url": receiver.url("/hook"), "events": ["recognition.*"]},
            timeout=10,
        )
        assert answer.status_code == 201, answer.text
        endpoint = answer.json()
        check(endpoint, "WebhookWithSecret", document)
        start = service.get("/v1/events?after=latest")["next_after"]
        service.create_gallery("endpoints")
        service.enroll("endpoints", {"pattern 3": encode(pattern(3))})
        job_ids = [service.accepted(service.ask(encode(pattern(3)), "endpoints"))["id"] for _ in range(3)]
        report = []
        while {event["data"]["id"] for event in report} < set(job_ids):
            page = service.http.get(
                f"{service.base_url}/v1/events", params={"after": start}, headers={"Prefer": "wait=20"}, timeout=30
            ).json()
            check(page, "EventPage", document)
            start = page["next_after"]
            report += [event for event in page["events"] if event["type"].startswith("recognition.")]
        wait_for(lambda: len(receiver.requests) >= len(report))
        listed = service.get(endpoint["links"]["deliveries"])
        check(listed, "DeliveryPage", document)
        wait_for(lambda: service.get(f"{endpoint['links']['deliveries']}?status=pending")["deliveries"] == [])
        one = service.get(listed["deliveries"][0]["links"]["self"])
        check(one, "DeliveryWithLog", document)
        assert service.http.delete(service.base_url + endpoint["links"]["self"], timeout=10).status_code == 204
    sent = {}
    for _, _, headers, body in receiver.requests:
        message = verify_webhook(body, headers, endpoint["public_key"])
        assert verify_webhook(body, headers, endpoint["secret"]) == message
        sent[headers["webhook-id"]] = message
    assert sent == {event["id"]: {name: event[name] for name in ("type", "timestamp", "data")} for event in report}
    assert json.dumps(one["body"]) == json.dumps(sent[one["event_id"]])


@pytest.mark.slow
def test_whatever_is_killed_each_end_is_reported_to_endpoint_and_feed(tmp_path: Path) -> None:
    """Web, worker, courier and keeper are killed in turn while jobs end; each job has one event, and each is delivered."""
    settings = stack_settings(tmp_path / "stack", SHITU_WEBHOOKS__TIMEOUT_S="1", SHITU_WORKER__DETECTOR="none")
    with serving() as receiver, Stack(settings) as stack:
        service = Service(stack.base_url)
        receiver.paths["/hook"] = (204, {}, b"")
        answer = service.http.post(f"{stack.base_url}/v1/webhooks", json={"url": receiver.url("/hook")}, timeout=10)
        endpoint = answer.json()
        service.create_gallery("killed")
        jobs = []
        for number, name in enumerate(["worker", "courier", "keeper", "worker", "courier", "web"]):
            jobs += [service.accepted(service.ask(encode(pattern(number)), "killed")) for _ in range(4)]
            pid = stack.processes[name].running.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda old=pid, name=name: stack.processes[name].running.pid not in {None, old})
        wait_for(lambda: answers(service), 60)
        for job in jobs:
            assert service.finished(job)["status"] == "succeeded"
        report = service.get("/v1/events?limit=500")["events"]
        assert sorted(event["data"]["id"] for event in report) == sorted(job["id"] for job in jobs)
        deliveries = f"{endpoint['links']['deliveries']}?status=pending"
        wait_for(lambda: service.get(deliveries)["deliveries"] == [], 90)
    messages = {headers["webhook-id"]: json.loads(body) for _, _, headers, body in receiver.requests}
    assert messages == {event["id"]: {name: event[name] for name in ("type", "timestamp", "data")} for event in report}


def answers(service: Service) -> bool:
    """Whether the web is there again."""
    try:
        return service.http.get(f"{service.base_url}/healthz", timeout=5).status_code == 200
    except OSError:
        return False

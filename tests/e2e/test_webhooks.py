"""A registered endpoint and the feed of the running service: the same events, from real processes."""

from __future__ import annotations

import json

from contracts.webhook_signatures import verify_webhook
from tests.e2e.service import Service, encode, pattern, wait_for
from tests.infra.local_servers import serving
from tests.openapi_checks import check


def test_an_endpoint_and_the_feed_tell_the_same(service: Service) -> None:
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
        told = []
        while {event["data"]["id"] for event in told} < set(job_ids):
            page = service.http.get(
                f"{service.base_url}/v1/events", params={"after": start}, headers={"Prefer": "wait=20"}, timeout=30
            ).json()
            check(page, "EventPage", document)
            start = page["next_after"]
            told += [event for event in page["events"] if event["type"].startswith("recognition.")]
        wait_for(lambda: len(receiver.requests) >= len(told))
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
    assert sent == {event["id"]: {name: event[name] for name in ("type", "timestamp", "data")} for event in told}
    assert json.dumps(one["body"]) == json.dumps(sent[one["event_id"]])

"""Webhook endpoints, their deliveries, and the feed of events. Steps without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from shitu.client.exchange import Answer, Pages, Ref, Request, Sleep, Steps, by_pages, call, id_of, json_of, once, pairs
from shitu.client.sending import moment

if TYPE_CHECKING:
    from contracts.jobs import DeliveryStatus
    from web.webhooks.records import (
        Delivery,
        DeliveryWithLog,
        FeedEvent,
        RegisteredWebhook,
        Replayed,
        WebhookWithSecret,
    )

WAIT_S = 20  # that the service may keep an empty page of the feed


def create_webhook(url: str, events: Sequence[str] = ("*",), *, description: str = "") -> Steps[WebhookWithSecret]:
    """Registers an endpoint; its `secret` is in this answer alone."""
    body = {"url": url, "events": list(events), "description": description}
    found: WebhookWithSecret = yield from call("POST", "/webhooks", json=body, repeatable=False)
    return found


def list_webhooks() -> Steps[Sequence[RegisteredWebhook]]:
    """All endpoints, the oldest first."""
    found = yield from call("GET", "/webhooks")
    webhooks: Sequence[RegisteredWebhook] = found["webhooks"]
    return webhooks


def get_webhook(webhook: Ref) -> Steps[RegisteredWebhook]:
    """One endpoint. Raises NotFound."""
    found: RegisteredWebhook = yield from call("GET", f"/webhooks/{id_of(webhook)}")
    return found


def change_webhook(
    webhook: Ref,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Steps[RegisteredWebhook]:
    """Changes what is named; `enabled` True forgets why it was disabled."""
    report = {
        "url": url,
        "events": None if events is None else list(events),
        "description": description,
        "enabled": enabled,
    }
    body = {name: value for name, value in report.items() if value is not None}
    found: RegisteredWebhook = yield from call("PATCH", f"/webhooks/{id_of(webhook)}", json=body)
    return found


def delete_webhook(webhook: Ref) -> Steps[None]:
    """Forgets an endpoint; what is pending is not sent."""
    yield from call("DELETE", f"/webhooks/{id_of(webhook)}", repeatable=False)


def rotate_secret(webhook: Ref, *, overlap_s: float = 86_400.0) -> Steps[WebhookWithSecret]:
    """New keys; for `overlap_s` seconds those before sign too."""
    body = {"overlap_s": overlap_s}
    found: WebhookWithSecret = yield from call(
        "POST", f"/webhooks/{id_of(webhook)}/rotate", json=body, repeatable=False
    )
    return found


def send_test(webhook: Ref, *, wait_s: int = 10) -> Steps[Delivery]:
    """Sends a message of type `webhook.test` in one attempt: its delivery, after at most `wait_s` seconds."""
    headers = {**once(None), **({"Prefer": f"wait={wait_s}"} if wait_s > 0 else {})}
    found: Delivery = yield from call("POST", f"/webhooks/{id_of(webhook)}/test", headers=headers)
    return found


def list_deliveries(webhook: Ref, *, status: DeliveryStatus | None = None, page_size: int = 50) -> Pages[Delivery]:
    """The messages to an endpoint, the latest first."""
    return by_pages(f"/webhooks/{id_of(webhook)}/deliveries", "deliveries", {"status": status, "limit": page_size})


def get_delivery(delivery: Ref) -> Steps[DeliveryWithLog]:
    """One message with its body and its log."""
    found: DeliveryWithLog = yield from call("GET", f"/deliveries/{id_of(delivery)}")
    return found


def replay_delivery(delivery: Ref) -> Steps[Delivery]:
    """Sends a message again, with all attempts ahead."""
    found: Delivery = yield from call("POST", f"/deliveries/{id_of(delivery)}/replay", headers=once(None))
    return found


def stop_delivery(delivery: Ref) -> Steps[Delivery]:
    """Sends a pending message no more. Raises Conflict if it is not pending."""
    found: Delivery = yield from call("POST", f"/deliveries/{id_of(delivery)}/stop", repeatable=False)
    return found


def replay_deliveries(
    webhook: Ref,
    since: datetime | str,
    until: datetime | str | None = None,
    *,
    only: Literal["failed", "all", "missing"] = "failed",
) -> Steps[Replayed]:
    """Sends the messages of a stretch of time again; times have a zone."""
    body = {"since": moment(since), "until": moment(until), "only": only}
    found: Replayed = yield from call("POST", f"/webhooks/{id_of(webhook)}/replay", json=body, headers=once(None))
    return found


def list_events(*, after: str | None = None, page_size: int = 100) -> Pages[FeedEvent]:
    """The events that are kept, in order; of `after`, a `cursor`, only those that follow it. It ends with the last there is."""

    def page(cursor: str | None) -> Steps[tuple[Sequence[FeedEvent], str | None]]:
        found = yield from call("GET", "/events", {"after": cursor or after, "limit": page_size})
        return found["events"], found["next_after"] if found["more"] else None

    return Pages(page)


def follow_events(*, after: str | None = "latest", page_size: int = 100) -> Pages[FeedEvent]:
    """The events that follow `after`, a `cursor` (None: from the oldest; "latest": from now on), and then each as it comes. Without end."""

    def page(cursor: str | None) -> Steps[tuple[Sequence[FeedEvent], str | None]]:
        query = pairs({"after": cursor or after, "limit": page_size})
        answer: Answer = yield Request("GET", "/events", query=query, headers={"Prefer": f"wait={WAIT_S}"})
        found: Any = json_of(answer)
        if not found["events"] and "preference-applied" not in answer.headers:
            yield Sleep(1)  # the service holds no more requests at the moment
        return found["events"], found["next_after"]

    return Pages(page)

"""Webhook endpoints: register, show, change, rotate their keys, test, delete. Their messages are in `web.webhooks.deliveries`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, url_for

from contracts.keys import Scope
from infra.errors.photos import AddressForbidden, InvalidUrl
from infra.errors.webhooks import TooManyWebhooks, WebhookNotFound
from infra.jobs.records import isoformat, new_id
from infra.net.webhook_keys import new_keys, sealed
from infra.net.webhooks import signing_keys
from web.access.scopes import needs
from web.openapi.operations import BODY, operation
from web.requests.json_body import sent_json
from web.requests.waiting import applied, held, preferred_s
from web.services import services
from web.webhooks.deliveries import describe as describe_delivery
from web.webhooks.records import (
    Delivery,
    RegisteredWebhook,
    RotateRequest,
    WebhookChanges,
    WebhookList,
    WebhookRequest,
    WebhookWithSecret,
)

if TYPE_CHECKING:
    from infra.jobs.endpoints import Endpoint

LOOK_AGAIN_S = 0.05

blueprint = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks")


@blueprint.post("")
@needs(Scope.MANAGE)
@operation(
    "createWebhook",
    "Register an endpoint; its secret is shown this once.",
    {201: WebhookWithSecret},
    (*BODY, InvalidUrl, AddressForbidden, TooManyWebhooks),
    body={"application/json": WebhookRequest},
)
def create() -> tuple[Response, int, dict[str, str]]:
    """An endpoint that is notified of what ends from now on."""
    service = services()
    sent = sent_json(WebhookRequest, urls_by=service.settings)
    endpoint_id, keys = new_id("whk", time.time()), new_keys()
    endpoint = service.ledger.endpoints.create(
        endpoint_id,
        sent.url,
        tuple(dict.fromkeys(sent.events)),
        sent.description,
        enabled=sent.enabled,
        sealed_keys=sealed(signing_keys(service.settings), endpoint_id, keys),
        public_key=keys.public_key,
    )
    answer: WebhookWithSecret = {**describe(endpoint), "secret": keys.secret}
    return jsonify(answer), 201, {"Location": answer["links"]["self"]}


@blueprint.get("")
@needs(Scope.MANAGE)
@operation("listWebhooks", "All endpoints.", {200: WebhookList})
def index() -> Response:
    """All endpoints, the oldest first."""
    return jsonify(webhooks=[describe(one) for one in services().ledger.endpoints.all()])


@blueprint.get("/<webhook_id>")
@needs(Scope.MANAGE)
@operation("getWebhook", "One endpoint.", {200: RegisteredWebhook}, (WebhookNotFound,))
def show(webhook_id: str) -> Response:
    """An endpoint, without its secret."""
    return jsonify(describe(services().ledger.endpoints.get(webhook_id)))


@blueprint.patch("/<webhook_id>")
@needs(Scope.MANAGE)
@operation(
    "changeWebhook",
    "Change an endpoint, or enable it again.",
    {200: RegisteredWebhook},
    (*BODY, WebhookNotFound, InvalidUrl, AddressForbidden),
    body={"application/json": WebhookChanges},
)
def change(webhook_id: str) -> Response:
    """What is named is changed. What is pending then goes to the new URL."""
    service = services()
    sent = sent_json(WebhookChanges, urls_by=service.settings)
    given: dict[str, Any] = {name: getattr(sent, name) for name in sent.model_fields_set}
    if "events" in given:
        given["events"] = tuple(dict.fromkeys(given["events"]))
    return jsonify(describe(service.ledger.endpoints.update(webhook_id, **given)))


@blueprint.delete("/<webhook_id>")
@needs(Scope.MANAGE)
@operation("deleteWebhook", "Delete an endpoint with its log.", {204: None}, (WebhookNotFound,))
def delete(webhook_id: str) -> tuple[str, int]:
    """What is pending is not sent any more."""
    services().ledger.endpoints.delete(webhook_id)
    return "", 204


@blueprint.post("/<webhook_id>/rotate")
@needs(Scope.MANAGE)
@operation(
    "rotateWebhook",
    "New keys; those before sign too for a while.",
    {200: WebhookWithSecret},
    (*BODY, WebhookNotFound),
    body={"application/json": RotateRequest},
    optional_body=True,
)
def rotate(webhook_id: str) -> Response:
    """The new secret is shown this once. At most two sets of keys sign: of an earlier rotation's, none does any more."""
    sent = sent_json(RotateRequest, optional=True)
    service = services()
    service.ledger.endpoints.get(webhook_id)
    keys = new_keys()
    kept = sealed(signing_keys(service.settings), webhook_id, keys)
    endpoint = service.ledger.endpoints.rotate(webhook_id, kept, keys.public_key, sent.overlap_s)
    answer: WebhookWithSecret = {**describe(endpoint), "secret": keys.secret}
    return jsonify(answer)


@blueprint.post("/<webhook_id>/test")
@needs(Scope.MANAGE)
@operation(
    "testWebhook",
    "Send a message of type webhook.test.",
    {202: Delivery, 200: Delivery},
    (WebhookNotFound,),
    headers=("Prefer",),
)
def test(webhook_id: str) -> Response:
    """One attempt, also at a disabled endpoint, which stays so. With `Prefer: wait`, 200 with what came of it."""
    service = services()
    endpoint = service.ledger.endpoints.get(webhook_id)
    data: dict[str, object] = {"webhook_id": endpoint.id, "message": "This is a test: nothing has happened."}
    delivery = service.ledger.deliveries.test(endpoint, data)
    service.queue.deliver(delivery.id)
    with held(preferred_s()) as wait_s:
        until = time.monotonic() + (wait_s or 0.0)
        while delivery.status == "pending" and time.monotonic() < until:
            time.sleep(LOOK_AGAIN_S)
            delivery = service.ledger.deliveries.get(delivery.id)
    response = jsonify(describe_delivery(delivery))
    response.status_code = 202 if delivery.status == "pending" else 200
    response.headers["Location"] = url_for("deliveries.show", webhook_id=webhook_id, delivery_id=delivery.id)
    if delivery.status == "pending":
        response.headers["Retry-After"] = "1"
    return applied(response, wait_s)


def describe(endpoint: Endpoint) -> RegisteredWebhook:
    """An endpoint as JSON: what is secret about it is not in it."""
    link = url_for("webhooks.show", webhook_id=endpoint.id)
    previous, until = endpoint.previous_public_key, endpoint.previous_until
    overlapping = previous is not None and until is not None and until > services().ledger.time()
    reason: Any = endpoint.disabled_reason
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled": None if endpoint.enabled else {"reason": reason, "at": str(isoformat(endpoint.disabled_at))},
        "failing_since": isoformat(endpoint.failing_since),
        "failures": endpoint.failures,
        "public_key": endpoint.public_key,
        "previous_keys": ({"public_key": str(previous), "valid_until": str(isoformat(until))} if overlapping else None),
        "created_at": str(isoformat(endpoint.created_at)),
        "updated_at": str(isoformat(endpoint.updated_at)),
        "links": {
            "self": link,
            "deliveries": f"{link}/deliveries",
            "test": f"{link}/test",
            "rotate": f"{link}/rotate",
        },
    }

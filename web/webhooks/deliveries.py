"""The messages to webhooks: an endpoint's log, what was sent and answered, replay of one or many, stop of a pending one.

A message to a job's own webhook is under /v1/deliveries; it is replayed at its job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Response, jsonify, request, url_for

from contracts.events import wants
from contracts.keys import Scope
from infra.errors.requests import InvalidRequest
from infra.errors.webhooks import DeliveryFinished, DeliveryNotFound, WebhookDisabled, WebhookNotFound
from infra.jobs.deliveries import to_endpoint
from infra.jobs.records import isoformat
from web.access.scopes import needs
from web.openapi.operations import BODY, operation
from web.requests.json_body import sent_json
from web.requests.parsing import parse
from web.services import services
from web.webhooks.records import (
    STATUSES,
    DeliveriesQuery,
    Delivery,
    DeliveryPage,
    DeliveryWithLog,
    Replayed,
    ReplayRequest,
)

if TYPE_CHECKING:
    import infra.jobs.deliveries
    from contracts.jobs import DeliveryStatus
    from infra.jobs.endpoints import Endpoint

MOST_AT_ONCE = 10_000  # messages that one request sends again
AT_ONCE = 100  # of them are published here; the keeper wakes the others
FAILED = frozenset({"failed", "disabled"})
ONE = (WebhookNotFound, DeliveryNotFound)

blueprint = Blueprint("deliveries", __name__, url_prefix="/v1")


@blueprint.get("/webhooks/<webhook_id>/deliveries")
@needs(Scope.MANAGE)
@operation(
    "listDeliveries",
    "The messages to an endpoint, the latest first.",
    {200: DeliveryPage},
    (*ONE, InvalidRequest),
    query=DeliveriesQuery,
)
def index(webhook_id: str) -> Response:
    """A page of the log."""
    query = parse(DeliveriesQuery, request.args.to_dict())
    service = services()
    service.ledger.endpoints.get(webhook_id)
    statuses = STATUSES if query.status is None else (query.status,)
    found = service.ledger.deliveries.of_endpoint(webhook_id, statuses, query.limit + 1, query.after)
    page = found[: query.limit]
    return jsonify(
        deliveries=[describe(one) for one in page], next_after=page[-1].id if len(found) > query.limit else None
    )


@blueprint.get("/webhooks/<webhook_id>/deliveries/<delivery_id>")
@needs(Scope.MANAGE)
@operation("getDelivery", "One message: what is sent, and each attempt's answer.", {200: DeliveryWithLog}, ONE)
def show(webhook_id: str, delivery_id: str) -> Response:
    """A message to an endpoint with its log."""
    return jsonify(_with_log(_of(webhook_id, delivery_id)))


@blueprint.post("/webhooks/<webhook_id>/deliveries/<delivery_id>/replay")
@needs(Scope.MANAGE)
@operation("replayDelivery", "Send a message again.", {202: Delivery}, (*ONE, WebhookDisabled))
def replay(webhook_id: str, delivery_id: str) -> Response:
    """At once, with all attempts left, under the same webhook-id, whatever became of it before."""
    service = services()
    delivery = _of(webhook_id, delivery_id)
    service.ledger.deliveries.require_enabled(service.ledger.endpoints.get(webhook_id))
    replayed = service.ledger.deliveries.replay(delivery.id)
    service.queue.deliver(delivery.id)
    return _accepted(replayed)


@blueprint.post("/webhooks/<webhook_id>/deliveries/<delivery_id>/stop")
@needs(Scope.MANAGE)
@operation("stopDelivery", "Send a pending message no more.", {200: Delivery}, (*ONE, DeliveryFinished))
def stop(webhook_id: str, delivery_id: str) -> Response:
    """An attempt that is under way is not called back, but none follows."""
    _of(webhook_id, delivery_id)
    return jsonify(describe(services().ledger.deliveries.stop(delivery_id)))


@blueprint.post("/webhooks/<webhook_id>/replay")
@needs(Scope.MANAGE)
@operation(
    "replayDeliveries",
    "Send an endpoint's messages of a stretch of time again.",
    {202: Replayed},
    (*BODY, WebhookNotFound, WebhookDisabled),
    body={"application/json": ReplayRequest},
)
def replay_range(webhook_id: str) -> Response:
    """Those that failed, all of them, or those that the endpoint was never sent, because it was disabled or not there."""
    sent = sent_json(ReplayRequest)
    service = services()
    endpoint = service.ledger.endpoints.get(webhook_id)
    service.ledger.deliveries.require_enabled(endpoint)
    since, until = sent.since.timestamp(), sent.until.timestamp() if sent.until else service.ledger.time() + 1
    if until <= since:
        detail = "this must be after since"
        raise InvalidRequest(f"until: {detail}.", errors=[{"pointer": "/until", "detail": detail}])
    ids, more, next_until = (
        _report_missing(endpoint, since, until)
        if sent.only == "missing"
        else _replay_known(endpoint, since, until, FAILED if sent.only == "failed" else frozenset(STATUSES))
    )
    for delivery_id in ids[:AT_ONCE]:
        if not service.queue.deliver(delivery_id):
            break  # the keeper will
    answer: Replayed = {"replayed": len(ids), "more": more, "next_until": next_until}
    response = jsonify(answer)
    response.status_code = 202
    response.headers["Location"] = url_for("deliveries.index", webhook_id=webhook_id)
    return response


@blueprint.get("/deliveries/<delivery_id>")
@needs(Scope.MANAGE)
@operation(
    "getAnyDelivery",
    "A message to a job's own webhook or to an endpoint: what is sent, and each attempt's answer.",
    {200: DeliveryWithLog},
    (DeliveryNotFound,),
)
def show_any(delivery_id: str) -> Response:
    """The message with this id: of a job's own webhook, its `webhook.id`."""
    return jsonify(_with_log(services().ledger.deliveries.get(delivery_id)))


@blueprint.post("/deliveries/<delivery_id>/stop")
@needs(Scope.MANAGE)
@operation("stopAnyDelivery", "Send a pending message no more.", {200: Delivery}, (DeliveryNotFound, DeliveryFinished))
def stop_any(delivery_id: str) -> Response:
    """As of an endpoint's message."""
    return jsonify(describe(services().ledger.deliveries.stop(delivery_id)))


@blueprint.post("/deliveries/<delivery_id>/replay")
@needs(Scope.MANAGE)
@operation("replayAnyDelivery", "Send a message again.", {202: Delivery}, (DeliveryNotFound, WebhookDisabled))
def replay_any(delivery_id: str) -> Response:
    """As of an endpoint's message."""
    service = services()
    delivery = service.ledger.deliveries.get(delivery_id)
    if delivery.endpoint_id is not None:
        service.ledger.deliveries.require_enabled(service.ledger.endpoints.get(delivery.endpoint_id))
    replayed = service.ledger.deliveries.replay(delivery_id)
    service.queue.deliver(delivery_id)
    return _accepted(replayed)


def describe(delivery: infra.jobs.deliveries.Delivery) -> Delivery:
    """A message as JSON."""
    link = url_for("deliveries.show_any", delivery_id=delivery.id)
    if delivery.endpoint_id is not None:
        link = url_for("deliveries.show", webhook_id=delivery.endpoint_id, delivery_id=delivery.id)
    return {
        "id": delivery.id,
        "webhook_id": delivery.endpoint_id,
        "event_id": delivery.event_id,
        "type": delivery.type,
        "job_id": delivery.job_id or None,
        "url": delivery.url,
        "status": cast("DeliveryStatus", delivery.status),
        "attempts": delivery.attempts,
        "created_at": str(isoformat(delivery.created_at)),
        "next_at": isoformat(delivery.next_at) if delivery.status == "pending" else None,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "links": {"self": link, "replay": f"{link}/replay", "stop": f"{link}/stop"},
    }


def _with_log(delivery: infra.jobs.deliveries.Delivery) -> DeliveryWithLog:
    ledger = services().ledger
    event = ledger.feed.event(delivery.webhook_id)
    # As the messages have it, whatever path this request came by.
    body: dict[str, Any] | None = event.to_dict(services().settings.web.root_path) if event is not None else None
    return {
        **describe(delivery),
        "body": body,
        "log": [
            {
                "at": str(isoformat(one.at)),
                "attempt": one.attempt,
                "status": one.status,
                "error": one.error,
                "answer": one.answer,
                "duration_ms": one.duration_ms,
            }
            for one in ledger.deliveries.attempts(delivery.id)
        ],
    }


def _of(webhook_id: str, delivery_id: str) -> infra.jobs.deliveries.Delivery:
    """Raises WebhookNotFound, DeliveryNotFound."""
    ledger = services().ledger
    ledger.endpoints.get(webhook_id)
    delivery = ledger.deliveries.get(delivery_id)
    if delivery.endpoint_id != webhook_id:
        raise DeliveryNotFound(f"There is no delivery {delivery_id} of this webhook.")
    return delivery


def _accepted(delivery: infra.jobs.deliveries.Delivery) -> Response:
    described = describe(delivery)
    response = jsonify(described)
    response.status_code = 202
    response.headers["Location"] = described["links"]["self"]
    response.headers["Retry-After"] = "1"
    return response


def _replay_known(
    endpoint: Endpoint, since: float, until: float, statuses: frozenset[str]
) -> tuple[list[str], bool, str | None]:
    """The ids, whether there are more, and before when those are. The latest go first."""
    deliveries = services().ledger.deliveries
    found: list[str] = []
    for delivery in deliveries.between(endpoint.id, since, until):
        if delivery.status not in statuses:
            continue
        if len(found) == MOST_AT_ONCE:
            # A millisecond more than known: rather twice than not at all.
            return found, True, isoformat(delivery.created_at + 0.001)
        deliveries.replay(delivery.id)
        found.append(delivery.id)
    return found, False, None


def _report_missing(endpoint: Endpoint, since: float, until: float) -> tuple[list[str], bool, str | None]:
    """As `_replay_known`; what is sent now is not missing any more, so that a repetition continues after it."""
    ledger = services().ledger
    found: list[str] = []
    for event_id, kind in ledger.feed.between(since, until):
        if not wants(endpoint.events, kind) or not ledger.deliveries.add(endpoint, event_id):
            continue
        found.append(to_endpoint(event_id, endpoint.id))
        if len(found) == MOST_AT_ONCE:
            return found, True, None
    return found, False, None

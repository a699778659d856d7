"""The feed: the events that webhooks send, in one order, for clients that poll."""

from __future__ import annotations

import json

from flask import Blueprint, Response, request

from contracts.keys import Scope
from contracts.names import without_surrogates
from infra.errors.requests import InvalidCursor, InvalidRequest
from infra.errors.webhooks import EventsExpired
from web.access.scopes import needs
from web.openapi.operations import operation
from web.requests.parsing import parse
from web.requests.waiting import applied, held, preferred_s
from web.services import services
from web.webhooks.records import EventPage, EventsQuery

blueprint = Blueprint("events", __name__, url_prefix="/v1/events")


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listEvents",
    "What happened after a cursor, in order.",
    {200: EventPage},
    (InvalidRequest, InvalidCursor, EventsExpired),
    query=EventsQuery,
    headers=("Prefer",),
)
def index() -> Response:
    """A page of events; with `Prefer: wait` an empty one is answered only after that time."""
    query = parse(EventsQuery, request.args.to_dict())
    feed = services().ledger.feed
    page = feed.read(query.after, query.limit)
    waited_s = None
    if not page.events:
        with held(preferred_s()) as waited_s:
            if waited_s is not None:
                feed.wait(page.next_after, waited_s)
                page = feed.read(page.next_after, query.limit)
    report = {
        "events": [{"id": one.id, "cursor": one.cursor, **one.to_dict(request.script_root)} for one in page.events],
        "next_after": page.next_after,
        "more": page.more,
    }
    return applied(
        Response(without_surrogates(json.dumps(report, ensure_ascii=False)), content_type="application/json"), waited_s
    )

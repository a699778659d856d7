"""Each request's place in a trace: the one that its `traceparent` names, or a new one."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from infra.runtime import tracing

if TYPE_CHECKING:
    from infra.runtime.tracing import Span

RECORDED = "/v1/"  # probes and the page's files are no part of anybody's trace


def register(app: Flask) -> None:
    """Before anything else looks at a request of `app`."""
    app.before_request(_begin)
    app.after_request(_note)
    app.teardown_request(_end)


def _begin() -> None:
    parent = tracing.parse(request.headers.get("traceparent"), request.headers.get("tracestate"))
    rule = request.url_rule.rule if request.url_rule else None
    method = request.method if rule else "HTTP"  # as with metrics: a client may invent methods
    secret = rule is not None and "<token>" in rule  # a path that opens something to whoever reads it
    attributes = {"http.request.method": request.method, "url.path": str(rule) if secret else request.path}
    if rule:
        attributes["http.route"] = rule
    recorded = request.path.startswith(RECORDED)
    g.span = tracing.start(f"{method} {rule}" if rule else method, "server", parent, attributes, recorded=recorded)
    tracing.set_current(g.span.context)


def _note(response: Response) -> Response:
    span: Span | None = g.get("span")
    if span is not None:
        span.set({"http.response.status_code": response.status_code})
        if response.status_code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            span.fail(str(response.status_code))
    return response


def _end(_error: BaseException | None) -> None:
    """Also of a stream, whose request ends with it. The thread's next request has another place."""
    span: Span | None = g.pop("span", None)
    if span is not None:
        span.end()
    tracing.set_current(None)

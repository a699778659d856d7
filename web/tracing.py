"""Each request's place in a trace: the one that its `traceparent` names, or a new one.

Where spans are recorded, OpenTelemetry's instrumentation of Flask makes those of requests, and they are the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, g, request

from infra.runtime import tracing

if TYPE_CHECKING:
    from infra.runtime.tracing import Span


def register(app: Flask) -> None:
    """Before anything else looks at a request of `app`."""
    tracing.instrument_web(app)
    app.before_request(_begin)
    app.teardown_request(_end)


def _begin() -> None:
    rule = request.url_rule.rule if request.url_rule else None
    span = tracing.of_request()
    if span is None:
        parent = tracing.parse(request.headers.get("traceparent"), request.headers.get("tracestate"))
        span = tracing.start(f"{request.method} {rule}", "server", parent, recorded=False)
    elif rule is not None and "<token>" in rule:  # a path that opens something to whoever reads it
        span.set({"url.path": rule})
    if request.query_string:
        span.set({"url.query": ""})  # it may hold what only the caller should read; the access log has none either
    g.span = span
    tracing.set_current(span.context)


def _end(_error: BaseException | None) -> None:
    """Also of a stream, whose request ends with it. The thread's next request has another place."""
    span: Span | None = g.pop("span", None)
    if span is not None:
        span.end()
    tracing.set_current(None)

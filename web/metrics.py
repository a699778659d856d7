"""Measures every request. Routes are labelled by their rule, so that the series stay few."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from infra.runtime.telemetry import HTTP_REQUESTS


def register(app: Flask) -> None:
    """Adds the measuring to `app`."""
    app.before_request(_start)
    app.after_request(_measure)


def _start() -> None:
    g.started = time.perf_counter()


def _measure(response: Response) -> Response:
    """Until the head of the answer: a stream's length is its job's, not the server's."""
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.url_rule else "unknown"  # a client may invent methods, and each is a series
    elapsed_s = time.perf_counter() - g.get("started", time.perf_counter())
    HTTP_REQUESTS.labels(method, route, str(response.status_code)).observe(elapsed_s)
    return response

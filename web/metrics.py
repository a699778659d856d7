"""Measures every request and answers /metrics. Routes are labelled by their rule, so that the series stay few."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request
from infra.jobs.metrics import render_metrics

from infra.runtime.telemetry import CONTENT_TYPE, HTTP_REQUESTS
from web.services import services


def register(app: Flask) -> None:
    """Adds the measuring and the view to `app`."""
    app.before_request(_start)
    app.after_request(_measure)
    app.add_url_rule("/metrics", "metrics", show, methods=["GET"])


def show() -> Response:
    """Numbers for Prometheus: this process's, and the ledger's as they are now."""
    return Response(render_metrics(services().ledger), content_type=CONTENT_TYPE)


def _start() -> None:
    g.started = time.perf_counter()


def _measure(response: Response) -> Response:
    """Until the head of the answer: a stream's length is its job's, not the server's."""
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.url_rule else "unknown"  # a client may invent methods, and each is a series
    elapsed_s = time.perf_counter() - g.get("started", time.perf_counter())
    HTTP_REQUESTS.labels(method, route, str(response.status_code)).observe(elapsed_s)
    return response

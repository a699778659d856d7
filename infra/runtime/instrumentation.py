"""OpenTelemetry's own instrumentation of Flask, redis-py and botocore, on the spans of infra.runtime.otel.

Imported only where an endpoint is set. Celery's stays out: docs/decisions.md says why.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis
    from flask import Flask
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, TraceState
    from opentelemetry.util.types import Attributes

RECORDED = "/v1/"  # probes and the page's files are no part of anybody's trace
OURS = "shitu."  # what attributes of this code begin with

# Names of attributes as OpenTelemetry has settled them; the instrumentation keeps older ones unless this is set.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")


class WantedSpans(Sampler):
    """As `other`, without requests that nobody traces, and without calls of Redis or S3 that belong to no trace.

    The keeper's rounds, renewed leases and the like ask Redis many times a second: each would be a trace of its own.
    """

    def __init__(self, other: Sampler) -> None:
        self._other = other

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Whether a span that begins is recorded."""
        known = attributes or {}
        if kind is SpanKind.SERVER and not str(known.get("url.path", RECORDED)).startswith(RECORDED):
            return _dropped(parent_context)
        if kind is SpanKind.CLIENT and not any(key.startswith(OURS) for key in known):
            parent = trace.get_current_span(parent_context).get_span_context()
            if not parent.is_valid:
                return _dropped(parent_context)
        return self._other.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """For people."""
        return f"WantedSpans{{{self._other.get_description()}}}"


def _dropped(parent_context: Context | None) -> SamplingResult:
    return SamplingResult(
        Decision.DROP, trace_state=trace.get_current_span(parent_context).get_span_context().trace_state
    )


def of_web(app: Flask, provider: TracerProvider) -> None:
    """Each request of `app` is a span. Before any other hook of the application."""
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    # The commenter is for SQL, and leaves its context in the thread.
    FlaskInstrumentor.instrument_app(app, tracer_provider=provider, enable_commenter=False)  # type: ignore[no-untyped-call]


def of_redis(client: redis.Redis, provider: TracerProvider) -> None:
    """Each command of `client` is a span; of its arguments only their number is recorded."""
    RedisInstrumentor.instrument_client(client, tracer_provider=provider)


def of_s3(provider: TracerProvider) -> None:
    """Each call of botocore's clients, in this process, is a span; once."""
    from opentelemetry.instrumentation.botocore import BotocoreInstrumentor

    instrumentor: Any = BotocoreInstrumentor()  # type: ignore[no-untyped-call]
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=provider)

"""Spans as OpenTelemetry's SDK records and exports them, over OTLP/HTTP. Imported only where an endpoint is set.

Sampling, headers for the collector and the like are the SDK's own OTEL_… variables.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from infra.runtime import instrumentation
from infra.runtime.tracing import Span, TraceContext, parse
from infra.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Token

    import redis
    from flask import Flask
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter

    from infra.runtime.tracing import Attributes, Kind

PATH = "/v1/traces"
KINDS = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
NS = 1_000_000_000


class OtelSpan(Span):
    """A span of the SDK."""

    def __init__(self, made: trace.Span) -> None:
        super().__init__(_context(made.get_span_context()))
        self._made = made

    def set(self, attributes: Attributes) -> None:
        """Adds attributes."""
        self._made.set_attributes(dict(attributes))

    def fail(self, what: str) -> None:
        """It did not go well."""
        self._made.set_status(Status(StatusCode.ERROR, what))

    def end(self, at: float | None = None) -> None:
        """It is over, now or since `at`."""
        self._made.end(None if at is None else int(at * NS))


class InstrumentedSpan(OtelSpan):
    """One that the instrumentation made, and ends."""

    def __init__(self, made: trace.Span) -> None:
        super().__init__(made)
        bounded = parse(self.context.traceparent, self.context.tracestate)  # a caller's state may be long
        self.context = bounded or self.context

    def fail(self, what: str) -> None:
        """The instrumentation sees it by itself."""

    def end(self, at: float | None = None) -> None:
        """The instrumentation does."""


class OtelRecorder:
    """Sends the spans of this process to `endpoint` (an OTLP/HTTP collector's base URL), in the background."""

    def __init__(self, endpoint: str, service: str, exporter: SpanExporter | None = None) -> None:
        """`exporter` takes the spans instead of a collector."""
        url = endpoint.rstrip("/")
        exporter = exporter or OTLPSpanExporter(endpoint=url if url.endswith(PATH) else url + PATH)
        about = {
            "service.name": service,
            "service.namespace": "shitu",
            "service.version": VERSION,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
        self._provider = TracerProvider(resource=Resource.create(about))
        self._provider.sampler = instrumentation.WantedSpans(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("shitu", VERSION)

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[TraceContext],
        started_at: float | None = None,
    ) -> Span:
        """A span that has begun."""
        made = self._tracer.start_span(
            name,
            context=_parent(parent),
            kind=KINDS[kind],
            attributes=dict(attributes),
            links=[trace.Link(_span_context(link)) for link in links],
            start_time=None if started_at is None else int(started_at * NS),
        )
        return OtelSpan(made)

    def finish(self, span: Span, ended_at: float) -> None:
        """Ends a span at a time of its own."""
        if isinstance(span, OtelSpan):
            span.end(ended_at)

    def attach(self, context: TraceContext | None) -> Token[Context]:
        """Whatever the instrumentation makes in this thread is below `context` from here on."""
        return contexts.attach(_parent(context))

    def detach(self, token: Token[Context]) -> None:
        """As before `attach`."""
        contexts.detach(token)

    def of_request(self) -> Span | None:
        """The span that the instrumentation began for this thread's request."""
        made = trace.get_current_span()
        return InstrumentedSpan(made) if made.get_span_context().is_valid else None

    def instrument_web(self, app: Flask) -> None:
        """Makes spans of the application's requests."""
        instrumentation.of_web(app, self._provider)

    def instrument_redis(self, client: redis.Redis) -> None:
        """Makes spans of the client's commands."""
        instrumentation.of_redis(client, self._provider)

    def instrument_s3(self) -> None:
        """Makes spans of calls of an S3 server."""
        instrumentation.of_s3(self._provider)

    def close(self) -> None:
        """Sends what is still to be sent."""
        self._provider.shutdown()


def _context(made: SpanContext) -> TraceContext:
    flags = f"{int(made.trace_flags):02x}"
    return TraceContext(f"{made.trace_id:032x}", f"{made.span_id:016x}", flags, made.trace_state.to_header())


def _span_context(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(context.flags, 16)),
        trace_state=TraceState.from_header([context.tracestate]) if context.tracestate else TraceState(),
    )


def _parent(context: TraceContext | None) -> Context:
    """Always a context of our own: what OpenTelemetry holds current in this thread is not ours."""
    from opentelemetry.context import Context

    if context is None:
        return Context()
    return trace.set_span_in_context(trace.NonRecordingSpan(_span_context(context)), Context())

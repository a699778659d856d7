"""W3C Trace Context: which trace a request, a job's attempt or a webhook belongs to, passed on from one to the next.

Every request has a trace: the one that its `traceparent` names, or a new one. It is written into the job's record, so
that whoever works on the job, minutes later and on another machine, continues it; logs, errors and webhooks name it.
With an OTLP endpoint set (`open_tracing`) the spans are recorded too, by infra.runtime.otel. Without, nothing of
OpenTelemetry is imported, and a span is only an id to pass on. https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from infra.errors.service import ConfigurationError

if TYPE_CHECKING:
    import redis
    from flask import Flask

    from infra.runtime.settings import Settings

Kind = Literal["server", "producer", "consumer", "client", "internal"]
Attributes = Mapping[str, str | int | float | bool]

MAX_STATE_CHARS = 512
MAX_STATE_MEMBERS = 32
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]*")
MISSING = (
    "SHITU_TRACING__OTLP_ENDPOINT: OpenTelemetry is not installed; install the extra `otel` (pip install 'shitu[otel]'), "
    "or unset it"
)


@dataclass(frozen=True)
class TraceContext:
    """A place in a trace: ids as lower-case hex (32 and 16 digits), flags as two digits (`01`: somebody records it)."""

    trace_id: str
    span_id: str
    flags: str = "00"
    tracestate: str = ""

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def headers(self) -> dict[str, str]:
        """What is sent along with a message, and kept in a record: `traceparent`, and `tracestate` where there is one."""
        state = {"tracestate": self.tracestate} if self.tracestate else {}
        return {"traceparent": self.traceparent, **state}

    def child(self) -> TraceContext:
        """Another place in the same trace."""
        return TraceContext(self.trace_id, secrets.token_hex(8), self.flags, self.tracestate)


def parse(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """What the headers name; None for no or an invalid `traceparent`, as the specification asks. Never raises."""
    found = _PARENT.fullmatch((traceparent or "").strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or not int(trace_id, 16) or not int(span_id, 16) or (version == "00" and more):
        return None
    state = (tracestate or "").strip()
    readable = len(state) <= MAX_STATE_CHARS and state.count(",") < MAX_STATE_MEMBERS and _STATE.fullmatch(state)
    return TraceContext(trace_id, span_id, f"{int(flags, 16) & 3:02x}", state if readable else "")


def begin() -> TraceContext:
    """A new trace, which nobody records yet."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8))


class Span:
    """Something that takes time, at `context` in its trace. This one is not recorded."""

    def __init__(self, context: TraceContext) -> None:
        self.context = context

    def set(self, attributes: Attributes) -> None:
        """Adds attributes."""

    def fail(self, what: str) -> None:
        """It did not go well."""

    def end(self) -> None:
        """It is over."""


class Recorder(Protocol):
    """What makes spans that somebody sees: infra.runtime.otel."""

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[TraceContext],
        started_at: float | None = None,
    ) -> Span:
        """A span that has begun, at `started_at` (seconds since 1970; None: now)."""

    def finish(self, span: Span, ended_at: float) -> None:
        """Ends a span at a time of its own."""

    def attach(self, context: TraceContext | None) -> Any:
        """What libraries do in this thread is below `context` from here on."""

    def detach(self, token: Any) -> None:
        """As before `attach`."""

    def of_request(self) -> Span | None:
        """The span of this thread's request."""

    def instrument_web(self, app: Flask) -> None:
        """Makes spans of the application's requests."""

    def instrument_redis(self, client: redis.Redis) -> None:
        """Makes spans of the client's commands."""

    def instrument_s3(self) -> None:
        """Makes spans of calls of an S3 server."""

    def close(self) -> None:
        """Sends what is still to be sent."""


_current: ContextVar[TraceContext | None] = ContextVar("shitu_trace", default=None)
_recorder: Recorder | None = None


def current() -> TraceContext | None:
    """Where this thread is at the moment, if it works on something that has a trace."""
    return _current.get()


def headers() -> dict[str, str]:
    """What shows another process where this thread is; empty if it is nowhere."""
    where = current()
    return where.headers() if where else {}


def set_current(context: TraceContext | None) -> None:
    """From here on this thread is there."""
    _current.set(context)


@contextmanager
def use(context: TraceContext | None) -> Iterator[None]:
    """Within, this thread is there."""
    recorder = _recorder
    token = _current.set(context)
    attached = None if recorder is None else recorder.attach(context)
    try:
        yield
    finally:
        if recorder is not None:
            recorder.detach(attached)
        _current.reset(token)


def start(
    name: str,
    kind: Kind,
    parent: TraceContext | None,
    attributes: Attributes | None = None,
    links: Sequence[TraceContext] = (),
    *,
    recorded: bool = True,
) -> Span:
    """A span for the caller to end; a new trace without `parent`. `recorded`: it may be, where anything is."""
    if _recorder is not None and recorded:
        return _recorder.start(name, kind, parent, attributes or {}, links)
    return Span(parent.child() if parent else begin())


@contextmanager
def span(
    name: str,
    kind: Kind,
    parent: TraceContext | None = None,
    attributes: Attributes | None = None,
    links: Sequence[TraceContext] = (),
) -> Iterator[Span]:
    """Around something that takes time, below `parent` (None: where this thread is); within, this thread is there."""
    begun = start(name, kind, parent or current(), attributes, links)
    try:
        with use(begun.context):
            yield begun
    except BaseException as error:
        begun.fail(type(error).__name__)
        raise
    finally:
        begun.end()


def record(name: str, started_at: float, ended_at: float, attributes: Attributes | None = None) -> None:
    """Something that is over already, below where this thread is; times in seconds since 1970."""
    where = current()
    if _recorder is not None and where is not None:
        made = _recorder.start(name, "internal", where, attributes or {}, (), started_at)
        _recorder.finish(made, max(started_at, ended_at))


def record_stages(took_ms: Mapping[str, float], began: float) -> None:
    """Stages that followed each other from `began` on, a time of time.perf_counter()."""
    if _recorder is None:
        return
    at = time.time() - (time.perf_counter() - began)
    for name, ms in took_ms.items():
        record(name, at, at + ms / 1000)
        at += ms / 1000


def of_request() -> Span | None:
    """The span of this thread's request, where requests are recorded: OpenTelemetry's instrumentation made it."""
    return None if _recorder is None else _recorder.of_request()


def instrument_web(app: Flask) -> None:
    """Has the requests of `app` recorded, if anything is; before any other of its hooks."""
    if _recorder is not None:
        _recorder.instrument_web(app)


def instrument_redis(client: redis.Redis) -> redis.Redis:
    """`client`, whose commands are recorded if anything is, each below where its thread is."""
    if _recorder is not None:
        _recorder.instrument_redis(client)
    return client


def instrument_s3() -> None:
    """Has calls of an S3 server recorded, if anything is, each below where its thread is."""
    if _recorder is not None:
        _recorder.instrument_s3()


def open_tracing(settings: Settings, service: str) -> None:
    """Records this process's spans as those of `service`, if the settings say where to; after fork, once a process.

    Raises ConfigurationError if OpenTelemetry is not installed.
    """
    global _recorder  # noqa: PLW0603 - one for each process, like its logging
    if settings.tracing.otlp_endpoint is None or _recorder is not None:
        return
    try:
        from infra.runtime.otel import OtelRecorder
    except ImportError as error:
        raise ConfigurationError([MISSING]) from error
    _recorder = OtelRecorder(settings.tracing.otlp_endpoint, service)


def close_tracing() -> None:
    """The process ends."""
    if _recorder is not None:
        _recorder.close()

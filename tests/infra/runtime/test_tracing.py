"""What a traceparent may be, and that nothing of OpenTelemetry is imported unless an endpoint is set."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from infra.errors.service import ConfigurationError
from infra.runtime import tracing
from infra.runtime.logs import JsonFormatter
from infra.runtime.settings import Settings, TracingSettings, load_settings

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_traceparent_is_read_and_written_as_it_was() -> None:
    found = tracing.parse(PARENT, "vendor=a,other=b")
    assert found == tracing.TraceContext(TRACE, SPAN, "01", "vendor=a,other=b")
    assert found.headers() == {"traceparent": PARENT, "tracestate": "vendor=a,other=b"}
    child = found.child()
    assert (child.trace_id, child.flags, child.tracestate) == (TRACE, "01", "vendor=a,other=b")
    assert child.span_id != SPAN


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "nonsense",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"{PARENT}-more",
        f"{PARENT},{PARENT}",
        PARENT.replace("4", "٤"),
    ],
)
def test_what_is_no_traceparent_is_as_none(wrong: str | None) -> None:
    assert tracing.parse(wrong) is None


def test_a_later_version_may_say_more() -> None:
    assert tracing.parse(f"01-{TRACE}-{SPAN}-09-more") == tracing.TraceContext(TRACE, SPAN, "01")


@pytest.mark.parametrize("state", ["a=" + "b" * 600, ",".join(f"a{n}=b" for n in range(33)), "a=b\r\nX-Evil: 1", "ä=b"])
def test_a_tracestate_that_is_none_costs_only_itself(state: str) -> None:
    assert tracing.parse(PARENT, state) == tracing.TraceContext(TRACE, SPAN, "01")


def test_within_a_span_this_thread_is_there_and_the_log_says_so() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.Logger("tests.tracing")
    log.addHandler(handler)
    with tracing.span("outer", "server", tracing.parse(PARENT)) as outer:
        log.info("within")
        with tracing.span("inner", "producer") as inner:
            assert tracing.current() == inner.context
            assert inner.context.trace_id == outer.context.trace_id == TRACE
            assert len({SPAN, outer.context.span_id, inner.context.span_id}) == 3
    assert tracing.current() is None
    log.info("outside")
    within, outside = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (within["trace_id"], within["span_id"]) == (TRACE, outer.context.span_id)
    assert "trace_id" not in outside


@pytest.mark.slow
def test_nothing_of_opentelemetry_is_imported_without_an_endpoint() -> None:
    code = (
        "import sys, web.app, worker.tasks, worker.attempt, infra.net.webhooks, worker.keeper\n"
        "from infra.runtime import tracing\nfrom infra.runtime.settings import Settings\n"
        "tracing.open_tracing(Settings(), 'shitu-web')\n"
        "found = [name for name in sys.modules if name.startswith('opentelemetry.') or name == 'infra.runtime.otel']\n"
        "import redis\n"  # whose client looks for OpenTelemetry's metrics by itself
        "print([name for name in found if 'otlp' in name or 'sdk.trace' in name or name.startswith('infra')])"
    )
    report = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert report == "[]\n"


def test_an_endpoint_without_the_packages_is_a_mistake_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "infra.runtime.otel", raising=False)
    settings = replace(Settings(), tracing=TracingSettings("http://127.0.0.1:4318"))
    with pytest.raises(ConfigurationError, match=r"shitu\[otel\]"):
        tracing.open_tracing(settings, "shitu-web")


@pytest.mark.parametrize("wrong", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://user@host", "http://"])
def test_an_endpoint_is_a_url(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="SHITU_TRACING__OTLP_ENDPOINT"):
        load_settings({"SHITU_TRACING__OTLP_ENDPOINT": wrong})

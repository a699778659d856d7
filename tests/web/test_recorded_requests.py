"""What OpenTelemetry's own instrumentation records of requests, of Redis and of S3, and what it must not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from opentelemetry import trace
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from infra.objects.opening import open_store
from infra.redis.client import open_client
from infra.runtime import tracing
from infra.runtime.otel import OtelRecorder
from infra.runtime.settings import ObjectSettings, Settings
from tests.web.pictures import picture
from web.services import Services

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=a"}


class Recorded:
    """The spans of this process so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.recorder = OtelRecorder("http://127.0.0.1:1", "tests", self.exporter)

    def spans(self) -> list[ReadableSpan]:
        self.recorder._provider.force_flush()
        return list(self.exporter.get_finished_spans())

    def of(self, kind: SpanKind) -> list[ReadableSpan]:
        return [one for one in self.spans() if one.kind is kind]


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Before the application is made: it is instrumented as it is in a process with an endpoint."""
    found = Recorded()
    monkeypatch.setattr(tracing, "_recorder", found.recorder)
    yield found
    found.recorder.close()


@pytest.fixture
def instrumented(recorded: Recorded, client: FlaskClient) -> FlaskClient:
    """A client of the instrumented application."""
    return client


def test_a_request_is_one_span_below_its_callers_and_redis_is_below_it(
    recorded: Recorded, instrumented: FlaskClient, drinks: str
) -> None:
    recorded.exporter.clear()
    assert instrumented.get(f"/v1/galleries/{drinks}", headers=HEADERS).status_code == 200
    (request,) = recorded.of(SpanKind.SERVER)
    assert request.name == "GET /v1/galleries/<name>"
    assert request.parent is not None
    assert (f"{request.context.trace_id:032x}", f"{request.parent.span_id:016x}") == (TRACE, SPAN)
    assert request.context.trace_state.to_header() == "vendor=a"
    about: dict[str, Any] = dict(request.attributes or {})
    assert (about["http.route"], about["url.path"]) == ("/v1/galleries/<name>", "/v1/galleries/drinks")
    assert about["http.response.status_code"] == 200
    # The thread's next request has another place.
    assert not trace.get_current_span().get_span_context().is_valid
    assert tracing.current() is None


@pytest.mark.parametrize("path", ["/healthz", "/", "/galleries", "/static/nothing", "/nowhere", "/metrics"])
def test_what_nobody_traces_makes_no_span(recorded: Recorded, instrumented: FlaskClient, path: str) -> None:
    instrumented.get(path, headers=HEADERS).close()
    assert recorded.spans() == []


def test_an_error_names_the_trace_of_its_span(recorded: Recorded, instrumented: FlaskClient) -> None:
    report = instrumented.get("/v1/galleries/nothing").get_json()["trace_id"]
    (request,) = recorded.of(SpanKind.SERVER)
    assert report == f"{request.context.trace_id:032x}"


def test_a_failed_publish_leaves_nothing_in_the_thread(
    recorded: Recorded, instrumented: FlaskClient, service: Services, drinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(service.queue._celery, "send_task", away)
    files = {"image": (io.BytesIO(picture(seed=1)), "a.png"), "gallery": drinks}
    answer = instrumented.post("/v1/recognitions", data=files, headers=HEADERS)
    assert answer.status_code == 202, answer.text
    (sent,) = recorded.of(SpanKind.PRODUCER)
    assert sent.status.description == "OSError"
    assert not trace.get_current_span().get_span_context().is_valid
    (request,) = recorded.of(SpanKind.SERVER)
    commands = [
        one for one in recorded.of(SpanKind.CLIENT) if one.parent and one.parent.span_id == request.context.span_id
    ]
    assert commands
    for one in commands:
        about: dict[str, Any] = dict(one.attributes or {})
        assert about["db.system.name"] == "redis"
        assert answer.get_json()["id"] not in str(about)


def test_what_a_link_opens_is_in_no_span(recorded: Recorded, instrumented: FlaskClient, service: Services) -> None:
    token, _ = service.uploads.link(service.photos.keep(picture(seed=1)))
    assert instrumented.get(f"/v1/links/{token}").status_code == 200
    assert instrumented.get("/v1/recognitions?secret=abc").status_code == 400
    link, listed = recorded.of(SpanKind.SERVER)
    assert (link.attributes or {})["url.path"] == "/v1/links/<token>"
    assert (listed.attributes or {})["url.query"] == ""
    report = str([one.to_json() for one in recorded.spans()])
    assert token not in report
    assert "abc" not in report


def test_commands_outside_any_trace_are_not_recorded(recorded: Recorded, settings: Settings) -> None:
    client = open_client(settings)
    client.ping()
    assert recorded.spans() == []
    with tracing.span("work", "internal") as work:
        client.ping()
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH", "secret")
    ping, wrong = recorded.of(SpanKind.CLIENT)
    assert ping.parent is not None
    assert f"{ping.parent.span_id:016x}" == work.context.span_id
    assert not wrong.status.is_ok
    client.close()


def test_calls_of_an_s3_server_are_below_what_made_them(
    recorded: Recorded, settings: Settings, s3_endpoint: str, s3_bucket: str
) -> None:
    try:
        store = open_store(ObjectSettings(f"s3://{s3_bucket}/p", s3_endpoint), settings.data_dir)
        store.put("outside", b"1")
        assert recorded.of(SpanKind.CLIENT) == []
        with tracing.span("work", "internal") as work:
            store.put("a", b"1")
            assert store.get("a") == b"1"
    finally:
        BotocoreInstrumentor().uninstrument()  # type: ignore[no-untyped-call]
    calls = recorded.of(SpanKind.CLIENT)
    assert {"S3.PutObject", "S3.GetObject"} <= {one.name for one in calls}
    assert {f"{one.parent.span_id:016x}" for one in calls if one.parent} == {work.context.span_id}

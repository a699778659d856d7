"""One trace from the caller through upload, queue, stages and webhook, as a collector sees it: all processes real."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, pattern, wait_for
from tests.infra.local_servers import serving

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
STREAMED, ASKED = "b" * 32, "c" * 32
REDIS = "opentelemetry.instrumentation.redis"
STAGES = {"fetch", "decode", "detect", "crop", "embed", "search", "verify"}


@dataclass(frozen=True)
class Seen:
    """A span, the service that sent it, and what made it."""

    service: str
    maker: str
    span: Any

    @property
    def trace(self) -> str:
        return str(self.span.trace_id.hex())

    @property
    def about(self) -> dict[str, Any]:
        values = {one.key: one.value for one in self.span.attributes}
        return {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}


@contextmanager
def collector() -> Iterator[tuple[str, list[Seen]]]:
    """The base URL of an OTLP/HTTP receiver, and the spans that it was sent."""
    spans: list[Seen] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/traces"
            for group in sent.resource_spans:
                about = {attribute.key: attribute.value.string_value for attribute in group.resource.attributes}
                for scope in group.scope_spans:
                    spans.extend(Seen(about["service.name"], scope.scope.name, span) for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", spans
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_one_trace_joins_upload_queue_stages_and_webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with collector() as (endpoint, spans), serving() as receiver:
        receiver.paths["/hook"] = (200, {}, b"")
        settings = stack_settings(tmp_path, SHITU_TRACING__OTLP_ENDPOINT=endpoint)
        with Stack(settings) as stack:
            service = Service(stack.base_url)
            service.create_gallery("drinks")
            service.enroll("drinks", {"tea": encode(pattern(1))})
            service.http.headers["traceparent"] = PARENT
            job = service.accepted(service.ask(encode(pattern(1)), "drinks", webhook_url=receiver.url("/hook")))
            del service.http.headers["traceparent"]
            assert job["trace_id"] == TRACE
            ended = service.finished(job)
            assert ended["status"] == "succeeded"

            def seen() -> dict[str, tuple[str, Any]]:
                mine = [one for one in list(spans) if one.trace == TRACE and one.maker != REDIS]
                return {one.span.name: (one.service, one.span) for one in mine}

            wanted = {"POST /v1/recognitions", "send recognize", "wait in queue", "process recognition"}
            wanted |= {"send deliver", "POST webhook"}
            wait_for(lambda: wanted <= seen().keys())
            found = seen()
            watched(service, ended)
            wait_for(
                lambda: {STREAMED, ASKED} <= {one.trace for one in list(spans) if one.span.name.startswith("GET /v1")}
            )
            (_, _, headers, body) = receiver.requests[0]
            logged = [
                json.loads(line)
                for line in (stack.logs / "worker.log").read_text(encoding="utf-8").splitlines()
                if line.startswith("{")
            ]
    request, processed = found["POST /v1/recognitions"][1], found["process recognition"][1]
    assert {name: service_name for name, (service_name, _) in found.items() if name in wanted} == {
        "POST /v1/recognitions": "shitu-web",
        "send recognize": "shitu-web",
        "wait in queue": "shitu-worker",
        "process recognition": "shitu-worker",
        "send deliver": "shitu-worker",
        "POST webhook": "shitu-courier",
    }
    assert request.parent_span_id.hex() == SPAN
    assert found["send recognize"][1].parent_span_id == request.span_id
    assert processed.parent_span_id == request.span_id
    assert [link.span_id for link in processed.links] == [found["send recognize"][1].span_id]
    stages = found.keys() - wanted
    assert {"fetch", "decode", "detect", "crop", "embed", "search"} <= stages <= STAGES
    for name in stages | {"wait in queue", "send deliver"}:
        assert found[name][1].parent_span_id == processed.span_id, name
    for name in stages:
        stage = found[name][1]
        assert processed.start_time_unix_nano - 50e6 < stage.start_time_unix_nano <= stage.end_time_unix_nano, name
    waited = found["wait in queue"][1]
    assert request.start_time_unix_nano < waited.start_time_unix_nano <= waited.end_time_unix_nano
    hook = found["POST webhook"][1]
    assert hook.parent_span_id == request.span_id
    assert {name.lower(): value for name, value in headers.items()}[
        "traceparent"
    ] == f"00-{TRACE}-{hook.span_id.hex()}-01"
    assert json.loads(body)["data"]["trace_id"] == TRACE
    lines = [line for line in logged if line.get("trace_id") == TRACE]
    assert any(line["message"] == "attempt ended" and line["job_id"] == job["id"] for line in lines)
    assert {one.trace for one in spans} - {TRACE, STREAMED, ASKED}  # requests without a traceparent began their own
    check_what_libraries_did(spans)


def watched(service: Service, job: dict[str, Any]) -> None:
    """Follows a job's events to their end, in a trace of their own, and asks what nobody traces."""
    url = f"{service.base_url}{job['links']['self']}/events"
    answer = service.http.get(url, headers={"traceparent": f"00-{STREAMED}-{SPAN}-01"}, timeout=10)
    assert "event: completed" in answer.text
    asked = {"traceparent": f"00-{ASKED}-{SPAN}-01"}
    assert (
        service.http.get(f"{service.base_url}/v1/recognitions?secret=abc", headers=asked, timeout=10).status_code == 400
    )
    for path in ("/healthz", "/", "/galleries"):
        answer = service.http.get(
            service.base_url + path, headers={"traceparent": f"00-{'a' * 32}-{SPAN}-01"}, timeout=10
        )
        assert answer.status_code == 200


def check_what_libraries_did(spans: list[Seen]) -> None:
    """OpenTelemetry's own instrumentation made requests' and Redis' spans, each below what it belongs to."""
    (request,) = [one for one in spans if one.span.name == "POST /v1/recognitions" and one.trace == TRACE]
    assert request.maker == "opentelemetry.instrumentation.flask"
    about = request.about
    assert (about["http.request.method"], about["http.response.status_code"]) == ("POST", 202)
    assert (about["http.route"], about["url.path"]) == ("/v1/recognitions", "/v1/recognitions")
    (stream,) = [one for one in spans if one.trace == STREAMED and one.maker != REDIS]
    assert stream.span.parent_span_id.hex() == SPAN
    (refused,) = [one for one in spans if one.trace == ASKED and one.maker != REDIS]
    assert (refused.about["url.query"], refused.about["http.response.status_code"]) == ("", 400)
    assert stream.about["url.path"].endswith("/events")
    commands = [one for one in spans if one.maker == REDIS]
    by_id = {one.span.span_id: one for one in spans}
    for one in commands:
        assert one.span.parent_span_id, one.span.name  # nothing of the keeper's rounds or the leases' renewal
        assert "rec_" not in one.about["db.query.text"]
        assert one.about["db.system.name"] == "redis"
    below = {by_id[one.span.parent_span_id].span.name for one in commands if one.trace == TRACE}
    assert {"POST /v1/recognitions", "process recognition", "POST webhook"} <= below
    assert "a" * 32 not in {one.trace for one in spans}
    assert all("secret" not in str(one.about) for one in spans)

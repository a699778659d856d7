"""A request's trace: its caller's or a new one, in the job's record, in errors, in the log and in the queue's message."""

from __future__ import annotations

import base64
import json
import logging
import re
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from infra.runtime import tracing
from tests.web.conftest import fill_gallery  # noqa: F401 - the fixture `drinks` needs it
from tests.web.pictures import picture
from web.services import Services

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=a"}


def ask(client: FlaskClient, gallery: str, headers: dict[str, str]) -> dict[str, Any]:
    photo = base64.b64encode(picture(seed=1)).decode()
    body = {"gallery": gallery, "image": {"base64": photo}, "webhook": {"url": "https://example.com/hook"}}
    answer = client.post("/v1/recognitions", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.get_json()
    return job


def test_a_job_continues_with_its_callers_trace(
    client: FlaskClient, service: Services, drinks: str, redis_client: redis.Redis
) -> None:
    job = ask(client, drinks, HEADERS)
    assert job["trace_id"] == TRACE
    kept = service.ledger.get(job["id"]).trace
    assert kept is not None
    assert (kept.trace_id, kept.flags, kept.tracestate) == (TRACE, "01", "vendor=a")
    assert kept.span_id != SPAN  # the request's own
    (message,) = redis_client.lrange("shitu:queue:recognize", 0, -1)
    headers = json.loads(message)["headers"]
    sent = tracing.parse(headers["traceparent"], headers["tracestate"])
    assert sent is not None
    assert (sent.trace_id, sent.tracestate) == (TRACE, "vendor=a")
    assert tracing.current() is None  # the thread's next request is another's


def test_the_message_about_a_jobs_end_has_its_trace(client: FlaskClient, service: Services, drinks: str) -> None:
    job = ask(client, drinks, HEADERS)
    lease = service.ledger.start(job["id"])
    assert lease is not None
    assert service.ledger.fail(lease, {"code": "internal_error", "message": "no", "retryable": False})
    (delivery_id,) = service.ledger.messages(job["id"])
    assert service.ledger.deliveries.get(delivery_id).trace == service.ledger.get(job["id"]).trace


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-nonsense"}])
def test_without_one_a_trace_begins(client: FlaskClient, drinks: str, headers: dict[str, str]) -> None:
    first, second = (ask(client, drinks, headers)["trace_id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize("path", ["/v1/galleries/nothing", "/nowhere", "/v1/recognitions?a=b"])
def test_errors_name_the_trace(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers=HEADERS)
    assert answer.status_code >= 400
    assert answer.get_json()["trace_id"] == TRACE


def test_the_line_of_a_request_names_the_trace(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "shitu.access"):
        client.get("/healthz", headers=HEADERS).close()
    (line,) = (record for record in caplog.records if record.name == "shitu.access")
    assert line.trace_id == TRACE  # type: ignore[attr-defined]  # by `extra`

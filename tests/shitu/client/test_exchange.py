"""Lost connections, refusals for now, what is no ShiTu: over real sockets, with both clients."""

from __future__ import annotations

import asyncio
import email.utils
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shitu import AsyncClient, Client, ClientError
from shitu.client.errors import (
    ConnectionFailed,
    JobFailed,
    KeyRefused,
    LimitReached,
    NotFound,
    ProblemError,
    ServiceFault,
    UnexpectedAnswer,
    WaitTimeout,
)
from shitu.client.exchange import Retries
from shitu.client.waiting import EventDecoder
from tests.shitu.client.conftest import QUICK
from tests.web.pictures import picture

JOB = {"id": "rec_1", "status": "queued", "result": None}
Answer = tuple[int, dict[str, str], bytes] | None  # None: the connection is cut after the request


def report(status: int, body: Any, **headers: str) -> Answer:
    kind = "application/json" if status < 400 else "application/problem+json"
    return (
        status,
        {"Content-Type": kind, **{name.replace("_", "-"): text for name, text in headers.items()}},
        json.dumps(body).encode(),
    )


def refusal(status: int, code: str, **headers: str) -> Answer:
    return report(
        status, {"code": code, "detail": "Not now.", "retryable": status in {429, 503}, "request_id": "r1"}, **headers
    )


@dataclass
class Script:
    """A server that answers in turn, the last answer again and again; the requests it got, in `seen`."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def script() -> Iterator[Script]:
    plan = Script()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            plan.seen.append((self.command, self.path, {name.lower(): text for name, text in self.headers.items()}))
            answer = plan.answers.pop(0) if len(plan.answers) > 1 else plan.answers[0]
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        plan.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield plan
        server.shutdown()
        thread.join(10)


@pytest.fixture(params=["blocking", "awaiting"])
def use(request: pytest.FixtureRequest, script: Script) -> Callable[[Callable[[Any], Any]], Any]:
    """`use(lambda client: client.system())` by either client."""

    def run(call: Callable[[Any], Any], retries: Retries = QUICK) -> Any:
        if request.param == "blocking":
            with Client(script.url, "shitu_k", retries=retries) as client:
                return call(client)

        async def main() -> Any:
            async with AsyncClient(script.url, "shitu_k", retries=retries) as client:
                return await call(client)

        return asyncio.run(main())

    return run


Use = Callable[..., Any]


def test_what_got_no_answer_is_sent_again_under_the_same_key(script: Script, use: Use) -> None:
    script.answers = [None, refusal(503, "overloaded"), refusal(409, "idempotency_in_progress"), report(202, JOB)]
    assert use(lambda client: client.recognitions.create(picture(), "drinks"))["id"] == "rec_1"
    assert len({headers["idempotency-key"] for _, _, headers in script.seen}) == 1
    assert [method for method, _, _ in script.seen] == ["POST"] * 4
    assert {headers["authorization"] for _, _, headers in script.seen} == {"Bearer shitu_k"}


def test_what_may_not_be_done_twice_is_not_sent_again(script: Script, use: Use) -> None:
    script.answers = [None]
    with pytest.raises(ConnectionFailed) as lost:
        use(lambda client: client.keys.create("till", ["read"]))
    assert (lost.value.sent, len(script.seen)) == (True, 1)
    script.answers, script.seen = [refusal(503, "redis_unavailable"), report(201, {"token": "t"})], []
    assert use(lambda client: client.keys.create("till", ["read"])) == {"token": "t"}


def test_retry_after_is_honoured_and_a_long_one_is_the_callers(script: Script, use: Use) -> None:
    script.answers = [refusal(429, "rate_limited", Retry_After="0"), report(200, {"version": "1"})]
    assert use(lambda client: client.system()) == {"version": "1"}
    script.answers, script.seen = [refusal(429, "rate_limited", Retry_After="3600")], []
    with pytest.raises(LimitReached) as refused:
        use(lambda client: client.system())
    assert (refused.value.retry_after_s, refused.value.request_id, len(script.seen)) == (3600, "r1", 1)
    script.answers, script.seen = [refusal(503, "overloaded")], []
    with pytest.raises(ServiceFault):
        use(lambda client: client.system())
    assert len(script.seen) == QUICK.attempts
    script.answers, script.seen = [report(503, {"code": "model_gone", "retryable": False})], []
    with pytest.raises(ServiceFault):
        use(lambda client: client.system())
    assert len(script.seen) == 1


def test_a_proxys_retry_after_may_be_a_date(script: Script, use: Use) -> None:
    soon = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    script.answers = [refusal(503, "overloaded", Retry_After=soon)]
    with pytest.raises(ServiceFault) as refused:
        use(lambda client: client.system())
    assert refused.value.retry_after_s == pytest.approx(3600, abs=60)
    assert len(script.seen) == 1
    past = email.utils.format_datetime(datetime.now(UTC) - timedelta(seconds=3600), usegmt=True)
    script.answers = [refusal(503, "overloaded", Retry_After=past), report(200, {"version": "1"})]
    assert use(lambda client: client.system()) == {"version": "1"}
    script.answers = [refusal(503, "overloaded", Retry_After="soon"), report(200, {"version": "1"})]
    assert use(lambda client: client.system()) == {"version": "1"}


def test_a_job_is_waited_for_while_the_service_is_started_again(script: Script, use: Use) -> None:
    """Longer than any other request is tried, and no longer than the deadline."""
    away = [None, *[refusal(503, "redis_unavailable")] * (2 * QUICK.attempts), None]
    script.answers = [*away, report(200, {**JOB, "status": "succeeded"})]
    assert use(lambda client: client.recognitions.wait(JOB, timeout_s=30))["status"] == "succeeded"
    script.answers = [refusal(503, "redis_unavailable")]
    began = time.monotonic()
    with pytest.raises(ServiceFault):
        use(lambda client: client.recognitions.wait(JOB, timeout_s=0.5))
    assert time.monotonic() - began < 5


def test_pauses_grow_are_capped_and_differ() -> None:
    retries = Retries(first_pause_s=1, longest_pause_s=4)
    for attempt, most in ((1, 1), (2, 2), (3, 4), (9, 4)):
        pauses = {retries.pause_s(attempt, None) for _ in range(20)}
        assert most / 2 <= min(pauses) < max(pauses) <= most
    assert 7 <= retries.pause_s(1, 7) <= 8


def test_what_is_no_shitu_is_said(script: Script, use: Use) -> None:
    page = (200, {"Content-Type": "text/html"}, b"<html>")
    for answer, reason in (
        (page, "is no ShiTu"),
        ((200, {"Content-Type": "text/html"}, b""), "is no ShiTu"),
        ((308, {"Location": "https://shop.example/"}, b""), "https://shop.example/"),
        ((404, {"Content-Type": "text/html"}, b"no"), "status 404"),
        ((404, {"Content-Type": "application/problem+json"}, b"{"), "status 404"),
    ):
        script.answers = [answer]
        with pytest.raises(UnexpectedAnswer, match=reason):
            use(lambda client: client.system())
    with pytest.raises(ConnectionFailed, match="nothing listens"), Client("127.0.0.1:1", retries=QUICK) as client:
        client.system()
    for wrong in ("ftp://x", "http://"):
        with pytest.raises(ValueError, match="is no address"):
            Client(wrong)


def test_a_lost_stream_is_followed_by_polls_with_etag(script: Script, use: Use) -> None:
    """Events, the stream's loss, nothing new, a full service, and the end."""
    stream = (
        b'retry: 1\n\nevent: status\nid: 7\ndata: {"id": "rec_1", "status": "processing",\ndata: "new": 1}\n\nevent: st'
    )
    events = {"Content-Type": "text/event-stream"}
    ended = {**JOB, "status": "succeeded", "unheard_of": [1]}
    script.answers = [
        (200, events, stream), report(200, {**JOB, "status": "processing"}, ETag='"a"'), refusal(503, "overloaded"),
        (304, {}, b""), (200, events, b""), report(200, ended),
    ]  # fmt: skip
    seen: list[str] = []
    found = use(lambda client: client.recognitions.wait(JOB, progress=lambda job: seen.append(job["status"])))
    assert found == ended
    assert seen == ["processing", "processing", "succeeded"]
    streams = [headers for _, path, headers in script.seen if path.endswith("/events")]
    polls = [headers for _, path, headers in script.seen if not path.endswith("/events")]
    assert [headers.get("last-event-id") for headers in streams] == [None, "7", "7"]
    assert [headers.get("if-none-match") for headers in polls] == [None, '"a"', '"a"']
    assert {headers["prefer"] for headers in polls} == {"wait=20"}


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        b"data: \xff\n\n",
        b"event: status\ndata: [1]\n\n",
        b'event: status\ndata: {"id": "rec_1"}\n\n',
        b"\x00\xfe\n",
    ],
)
def test_a_broken_stream_is_followed_by_polls(script: Script, use: Use, broken: bytes) -> None:
    """What a proxy made of it is the loss of a stream, no bare ValueError."""
    ended = {**JOB, "status": "succeeded"}
    script.answers = [(200, {"Content-Type": "text/event-stream"}, broken), report(200, ended)]
    assert use(lambda client: client.recognitions.wait(JOB)) == ended


def test_broken_lines_of_results_are_the_clients_own_error(script: Script) -> None:
    script.answers = [(200, {"Content-Type": "application/x-ndjson"}, b'{"index": 0}\n{"ind')]
    with Client(script.url, retries=QUICK) as client, pytest.raises(UnexpectedAnswer, match="a line is no JSON"):
        list(client.batches.results("bat_1"))


def test_events_are_decoded_however_they_are_cut() -> None:
    text = 'event: status\r\nid: 1\r\ndata: {"a": "é茶"}\r\n\r\n: still here\n\ndata: [1,\ndata: 2]\n\n'.encode()
    for size in (1, 2, 3, 7, len(text)):
        decoder = EventDecoder()
        found = [event for n in range(0, len(text), size) for event in decoder.feed(text[n : n + size])]
        assert [(one.name, one.data, one.id) for one in found] == [
            ("status", {"a": "é茶"}, "1"),
            ("message", [1, 2], ""),
        ]


def test_every_error_is_a_client_error_and_survives_a_process_pool() -> None:
    job = {**JOB, "status": "failed", "error": {"code": "x", "message": "It is cut short.", "retryable": True}}
    for error in (
        NotFound({"code": "job_not_found", "detail": "No."}, 404), JobFailed(job), WaitTimeout(JOB, 3), ConnectionFailed("no"),
    ):  # fmt: skip
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert isinstance(error, ClientError)
    assert issubclass(KeyRefused, ProblemError)
    assert isinstance(WaitTimeout(JOB, 3), TimeoutError)
    assert JobFailed({"id": "rec_1", "status": "canceled", "error": None}).code == "canceled"

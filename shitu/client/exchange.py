"""Requests, answers and retries without I/O.

What a client can do is a generator: it yields what is to be done outside (`Effect`), is sent what came of it, and returns
what the user gets. `shitu.client.blocking` and `shitu.client.awaiting` do the I/O, each in its way.
"""

from __future__ import annotations

import email.utils
import json
import math
import random
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from shitu.client.errors import ConnectionFailed, UnexpectedAnswer, problem_of

if TYPE_CHECKING:
    from shitu.client.pictures import Upload

T = TypeVar("T")

NOT_NOW = {429, 503}  # refused: nothing was done
LOST = {502, 504}  # a proxy's: it may have been done

Ref: TypeAlias = "str | Mapping[str, Any]"  # something by its id, or as the service answered it


@dataclass(frozen=True)
class Request:
    """One request below /v1. `repeatable`: sending it twice does no more than sending it once.

    `read_s`: for an event stream, the seconds without a byte after which it counts as lost. `patient_s`: a service that is
    away is waited for so long, or as long as the client's Retries allow, however many attempts that takes.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    fields: Mapping[str, Any] | None = None
    files: Sequence[tuple[str, Upload]] = ()
    content: bytes | None = None
    link: str = ""  # instead of a path: an address that needs no key, elsewhere perhaps; the key is not sent there
    repeatable: bool = True
    read_s: float | None = None
    patient_s: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came back; names of `headers` in lower case. `streaming`: its body is still to come, by `Chunk`."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    streaming: bool = False

    @property
    def media(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after_s(self) -> float | None:
        """Of the header, which has seconds or, by some proxies, a date; None: neither."""
        report = self.headers.get("retry-after", "").strip()
        if report.isascii() and report.isdigit():
            return float(report)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(report).timestamp() - time.time())
        except ValueError:
            return None


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Open:
    """Send a request whose answer may be an event stream: gives an Answer."""

    request: Request


@dataclass(frozen=True)
class Chunk:
    """The next bytes of the stream that is open; None: it has ended."""


Effect: TypeAlias = "Request | Sleep | Open | Chunk"
Steps: TypeAlias = Generator[Effect, Any, T]


@dataclass(frozen=True)
class Pages(Generic[T]):
    """Something listed by pages: `page` gives the entries of one, and the `after` of the next, None on the last."""

    page: Callable[[str | None], Steps[tuple[Sequence[T], str | None]]]


@dataclass(frozen=True)
class Retries:
    """How requests are repeated that got no answer, or "not now" (429, 502, 503, 504).

    At most `attempts` in all and no more than `within_s` seconds of pauses: `Retry-After` where that was said, else pauses
    that double from `first_pause_s` to `longest_pause_s`; each a little off, so that many clients don't come back at once.
    `unreached`: also where nothing listens.
    """

    attempts: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0
    within_s: float = 60.0
    unreached: bool = True

    def pause_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Before the next attempt, after the `attempt`th (from 1)."""
        if retry_after_s is not None:
            return retry_after_s + random.uniform(0, self.first_pause_s)
        longest: float = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (attempt - 1))
        return random.uniform(0.5, 1) * longest


USUAL_RETRIES = Retries()


def retried(steps: Steps[T], retries: Retries) -> Steps[T]:
    """The same steps, each of their requests repeated as `retries` says."""
    try:
        effect = next(steps)
        while True:
            try:
                reply = (yield from _tried(effect, retries)) if isinstance(effect, Request) else (yield effect)
            except ConnectionFailed as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(reply)
    except StopIteration as ended:
        found: T = ended.value
        return found
    finally:
        steps.close()


def _tried(request: Request, retries: Retries) -> Steps[Answer]:
    patient = request.patient_s is not None
    left_s = min(retries.within_s, math.inf if request.patient_s is None else request.patient_s)
    for attempt in count(1):
        failure: ConnectionFailed | None = None
        answer: Answer | None = None
        try:
            answer = yield request
        except ConnectionFailed as error:
            failure = error
            again = not error.final and (request.repeatable if error.sent else retries.unreached or patient)
        else:
            again = _not_now(answer, request)
        pause_s = retries.pause_s(attempt, None if answer is None else answer.retry_after_s)
        if not again or (attempt >= retries.attempts and not patient) or pause_s > left_s:
            break
        left_s -= pause_s
        yield Sleep(pause_s)
    if failure is not None:
        raise failure
    assert answer is not None  # noqa: S101  # one of both is there
    return answer


def _not_now(answer: Answer, request: Request) -> bool:
    """Whether the same request may fare better a little later."""
    if answer.status in NOT_NOW or (answer.status in LOST and request.repeatable):
        return bool(_problem(answer).get("retryable", True))
    return answer.status == 409 and _problem(answer).get("code") == "idempotency_in_progress"


def _problem(answer: Answer) -> dict[str, Any]:
    if answer.media != "application/problem+json":
        return {}
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def checked(answer: Answer) -> Answer:
    """The answer, if it is one that was requested. Raises ProblemError, UnexpectedAnswer."""
    if 200 <= answer.status < 300 or answer.status == 304:
        return answer
    if problem := _problem(answer):
        raise problem_of(problem, answer.status, answer.retry_after_s)
    if 300 <= answer.status < 400:
        raise UnexpectedAnswer(f"The server sends on to {answer.headers.get('location')}: use that.", answer.status)
    raise _not_ours(answer)


def json_of(answer: Answer) -> Any:
    """The JSON of an answer, None where there is none."""
    checked(answer)
    if answer.status in {204, 304}:
        return None
    try:
        if answer.media == "application/json":
            return json.loads(answer.body)
    except ValueError:
        pass
    raise _not_ours(answer)


def _not_ours(answer: Answer) -> UnexpectedAnswer:
    report = answer.media or "no content type"
    return UnexpectedAnswer(f"What answers there is no ShiTu: status {answer.status}, {report}.", answer.status)


def call(method: str, path: str, query: Mapping[str, Any] | None = None, **how: Any) -> Steps[Any]:
    """What is answered, as JSON. `how`: further members of Request."""
    return json_of((yield Request(method, path, query=pairs(query or {}), **how)))


def read(path: str, query: Mapping[str, Any] | None = None) -> Steps[bytes]:
    """The bytes at `path`: a picture, a list."""
    answer: Answer = yield Request("GET", path, query=pairs(query or {}))
    return checked(answer).body


def pairs(query: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A query as it is sent: None is left out, a list repeats its name."""
    found = []
    for name, value in query.items():
        for one in [value] if isinstance(value, str | bytes) or not isinstance(value, Sequence) else value:
            if one is not None:
                found.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
    return found


def once(key: str | None) -> dict[str, str]:
    """The header by which the service knows a repetition: the user's key, or a new one."""
    escaped = (key or str(uuid.uuid4())).replace("\\", "\\\\").replace('"', '\\"')
    return {"Idempotency-Key": f'"{escaped}"'}


def id_of(ref: Ref) -> str:
    """An id as it stands in a path."""
    return quote(ref if isinstance(ref, str) else str(ref["id"]), safe="")


def named(name: str) -> str:
    """The path of a gallery."""
    return f"/galleries/{quote(name, safe='')}"


def now_s() -> float:
    return time.monotonic()


def by_pages(path: str, member: str, query: Mapping[str, Any]) -> Pages[Any]:
    """What a list route gives in `member`, page by page."""

    def page(after: str | None) -> Steps[tuple[Sequence[Any], str | None]]:
        sent = dict(query) if after is None else {**query, "after": after}
        found = yield from call("GET", path, sent)
        return found[member], found["next_after"]

    return Pages(page)

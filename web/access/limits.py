"""What a key may use, held at each of its requests: 429 with Retry-After, and the RateLimit headers on every answer.

The headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` says what is allowed, `RateLimit` what is
left. A body's bytes are counted by its Content-Length before it is read; one without is counted as it comes, and what it
is over the limit is owed.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import redis.exceptions
from flask import g, request

from infra.keys.limits import allowance
from web.access import auth
from web.services import services

if TYPE_CHECKING:
    from flask import Flask, Response

    from infra.jobs.terms import Terms
    from infra.keys.limits import Allowance

SAFE_METHODS = frozenset({"GET", "HEAD"})


def register(app: Flask) -> None:
    """After web.access.auth, which says whose a request is."""
    app.before_request(take)
    app.after_request(_notify)


def allowed() -> Allowance | None:
    """What the key of the current request may use; None: it has no limits, or there is no key."""
    key = auth.key()
    found = None if key is None else allowance(key.limits, services().settings.keys)
    return found or None


def owned(terms: Terms) -> Terms:
    """`terms` with whose the job is, and how many that key may have open."""
    mine = allowed()
    return replace(terms, owner=auth.owner(), most_open=mine.open_jobs if mine else 0)


def take() -> None:
    """Raises RateLimited, BytesLimited."""
    mine, key = allowed(), auth.key()
    if mine is None or key is None:
        return
    length = request.content_length or 0
    if mine.bytes_per_day and request.content_length is None and "Transfer-Encoding" in request.headers:
        g.counted = request.environ["wsgi.input"] = _Counted(request.environ["wsgi.input"])
        length = 1  # nothing more is taken by a key that is in debt
    try:
        g.quotas, refused = services().key_limits.take(key.id, mine, length)
    except redis.exceptions.ResponseError:
        if request.method in SAFE_METHODS:  # a Redis that takes no writes: what can be read must be readable
            return
        raise
    if refused is not None:
        raise refused


def take_bytes(count: int) -> None:
    """Counts bytes that the current request's key is to send elsewhere. Raises BytesLimited."""
    mine, key = allowed(), auth.key()
    if mine is not None and key is not None and mine.bytes_per_day:
        refused = services().key_limits.take_bytes(key.id, mine, count)
        if refused is not None:
            raise refused


def _notify(response: Response) -> Response:
    mine, key, counted = allowed(), auth.key(), g.pop("counted", None)
    if mine is not None and key is not None and counted is not None:
        with contextlib.suppress(redis.exceptions.RedisError):  # what was accepted stays accepted
            services().key_limits.charge(key.id, mine, max(0, counted.received - 1))
    if quotas := g.get("quotas"):
        response.headers["RateLimit-Policy"] = ", ".join(quota.policy() for quota in quotas)
        response.headers["RateLimit"] = ", ".join(quota.state() for quota in quotas)
    return response


class _Counted:
    """A request's body that knows how many bytes of it were read."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self.received = 0

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        return self._noted(self._body.read(size))

    def readline(self, size: int = -1) -> bytes:
        """As a file's."""
        return self._noted(self._body.readline(size))

    def readlines(self, size: int = -1) -> list[bytes]:
        """As a file's."""
        return [self._noted(line) for line in self._body.readlines(size)]

    def __iter__(self) -> Any:
        for line in self._body:
            yield self._noted(line)

    def _noted(self, data: bytes) -> bytes:
        self.received += len(data)
        return data

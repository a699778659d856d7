"""One line for each request when its answer is out: method, route, status, time, bytes, request id, client.

The route and not the path: ids are in other lines, and a query may hold what is nobody's business.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from flask import g, request

from infra.runtime import audit, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask import Flask

SEEN = "shitu.access"  # in the environ: what the views know of the request, and that its line is written
MAX_METHOD_CHARS = 32

log = logging.getLogger("shitu.access")


def register(app: Flask) -> None:
    """Puts the log around `app`; after `web.errors`, which names the request."""
    app.before_request(_note)
    app.wsgi_app = AccessLog(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation says


def _note() -> None:
    request_id = g.get("request_id", "")
    request.environ[SEEN] = {
        "route": request.url_rule.rule if request.url_rule else "unknown",
        "request_id": request_id,
        "trace_id": where.trace_id if (where := tracing.current()) else "",
    }
    audit.act_as(f"client {client(request.environ)}", request_id=request_id)


def client(environ: dict[str, Any]) -> str:
    """The address of the other side. What it says of itself in headers is not believed."""
    return str(environ.get("REMOTE_ADDR") or "local")


def write_line(environ: dict[str, Any], status: int, ms: float, sent_bytes: int) -> None:
    """Writes the line."""
    seen: dict[str, str] = environ.get(SEEN, {})
    fields = {
        "method": str(environ.get("REQUEST_METHOD", ""))[:MAX_METHOD_CHARS],
        "route": seen.get("route", "unknown"),
        "status": status,
        "ms": round(ms, 1),
        "bytes": sent_bytes,
        "request_id": seen.get("request_id", ""),
        "client": client(environ),
        "trace_id": seen.get("trace_id", ""),
    }
    if "key" in seen:
        fields["key"] = seen["key"]
    log.info("request", extra=fields)


class AccessLog:
    """A WSGI application around another one."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        started, status = time.perf_counter(), [500]
        environ[SEEN] = {}

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            status[0] = int(line[:3])
            return start_response(line, headers, exc_info) if exc_info else start_response(line, headers)

        try:
            body = self._application(environ, start)
        except BaseException:
            write_line(environ, 500, 1000 * (time.perf_counter() - started), 0)
            raise
        return _Counted(body, lambda sent: write_line(environ, status[0], 1000 * (time.perf_counter() - started), sent))


class _Counted:
    """An answer's body that says how long it was when it is closed; a server closes it also when the client went away."""

    def __init__(self, body: Iterable[bytes], done: Callable[[int], None]) -> None:
        self._body = body
        self._done = done
        self._sent = 0
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._sent += len(piece)
            yield piece

    def close(self) -> None:
        """WSGI calls it once."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if not self._closed:
                self._closed = True
                self._done(self._sent)

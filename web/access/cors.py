"""Whose pages may use the API from a browser: the origins of `web.cors_origins`, none by default.

A preflight is answered before a key is required, as browsers send none with it. Cookies are never let in from elsewhere
(no Access-Control-Allow-Credentials): another site's page sends a key of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

from web.services import services

if TYPE_CHECKING:
    from flask import Flask

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Prefer, Idempotency-Key, Cancel-After, If-Match, If-None-Match, Last-Event-ID, "
    "X-Request-Id, traceparent, tracestate"
)
EXPOSED = (
    "Location, Retry-After, ETag, Link, Preference-Applied, Idempotent-Replayed, RateLimit, RateLimit-Policy, "
    "WWW-Authenticate, Content-Disposition, X-Request-Id"
)
MAX_AGE_S = 600


def register(app: Flask) -> None:
    """Before web.access.auth."""
    app.before_request(_preflight)
    app.after_request(_notify)


def is_allowed(origin: str) -> bool:
    """Whether pages of this origin may use the API."""
    allowed = services().settings.web.cors_origins
    return ANY in allowed or origin in allowed


def _preflight() -> Response | None:
    if request.method != "OPTIONS" or not {"Origin", "Access-Control-Request-Method"} <= {*request.headers.keys()}:
        return None
    response = Response(status=204)
    if is_allowed(request.headers["Origin"]):
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
        response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
    return response


def _notify(response: Response) -> Response:
    allowed = services().settings.web.cors_origins
    if not allowed:
        return response
    if ANY not in allowed:
        response.vary.add("Origin")  # whoever caches it must not give it to another site's page
    origin = request.headers.get("Origin")
    if origin is not None and is_allowed(origin):
        response.headers["Access-Control-Allow-Origin"] = ANY if ANY in allowed else origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
    return response

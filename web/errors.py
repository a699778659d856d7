"""Turns every failure into application/problem+json (RFC 9457): the only place where HTTP learns of exceptions.

`code` is the stable name of the error (docs/errors.md), `type` the same as a URI, `title` the same words at each
occurrence, `detail` what happened this time. The text of an exception that nobody expected goes to the log with its
request id and never to the client.
"""

from __future__ import annotations

import http
import json
import logging
import math
import os
import re
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis.exceptions
from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from contracts.errors import ServiceError
from contracts.names import without_surrogates
from infra.errors.galleries import GalleryNotFound
from infra.errors.requests import (
    BodyTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    UnsupportedMediaType,
    UploadTooSlow,
)
from infra.errors.service import StorageUnavailable
from infra.objects.local import DISK_ERRORS
from infra.redis.check import explained
from infra.runtime import tracing

if TYPE_CHECKING:
    import socket

    from flask import Flask

PROBLEM_TYPE = "urn:shitu:problem:"
RESERVED = frozenset({"type", "title", "status", "detail", "code", "instance", "retryable", "request_id", "trace_id"})
RETRY_AFTER_S = 2.0  # sent with a retryable error that does not know better
FORESEEN = {
    http.HTTPStatus.NOT_IMPLEMENTED,
    http.HTTPStatus.GATEWAY_TIMEOUT,
}  # by a setting; a wait's end: nothing failed
DRAIN_S = 5.0
DRAIN_PIECE_BYTES = 65536
SENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = logging.getLogger("shitu.web")


def register(app: Flask) -> None:
    """Makes `app` answer every failure as a problem, and mark every answer with its request id."""
    app.before_request(_name_request)
    app.after_request(_mark_response)
    app.after_request(_read_the_rest)
    app.register_error_handler(ServiceError, _service_error)
    app.register_error_handler(redis.exceptions.RedisError, _redis_error)
    app.register_error_handler(OSError, _os_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unknown_error)


def problem(error: ServiceError) -> Response:
    """`error` as a problem document; retryable ones say when to come back."""
    retry_after_s = error.retry_after_s
    if retry_after_s is None and error.retryable and error.http_status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after_s = RETRY_AFTER_S
    members: dict[str, Any] = {
        "type": PROBLEM_TYPE + error.code,
        "title": error.title,
        "status": error.http_status,
        "detail": error.detail,
        "code": error.code,
        "retryable": error.retryable,
        **{f"reported_{name}" if name in RESERVED else name: value for name, value in error.extra.items()},
    }
    if "request_id" in g:
        members["request_id"] = g.request_id
    if (where := tracing.current()) is not None:
        members["trace_id"] = where.trace_id
    response = Response(
        without_surrogates(json.dumps(members, ensure_ascii=False, allow_nan=False)),
        status=error.http_status,
        content_type="application/problem+json",
    )
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after_s))
    return response


def _name_request() -> None:
    sent = request.headers.get("X-Request-Id", "")
    g.request_id = sent if SENT_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def _mark_response(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _read_the_rest(response: Response) -> Response:
    """Takes what is left of a refused body, for a few seconds: most clients send all of it before they read the answer.

    Closing the connection on them would lose the answer that says what is wrong, or their next request.
    """
    refused = response.status_code >= http.HTTPStatus.BAD_REQUEST
    if refused and request.environ.get("wsgi.input_terminated"):  # else a read would not know where to end
        connection: socket.socket | None = request.environ.get("gunicorn.socket")
        deadline = time.monotonic() + DRAIN_S
        with suppress(OSError, ValueError, UploadTooSlow):
            while (left_s := deadline - time.monotonic()) > 0:
                if connection is not None:
                    connection.settimeout(left_s)  # who stops sending must not hold the thread
                if not request.input_stream.read(DRAIN_PIECE_BYTES):
                    break
        if connection is not None:
            with suppress(OSError):
                connection.settimeout(None)
    return response


def _service_error(error: ServiceError) -> Response:
    if isinstance(error, GalleryNotFound):
        error.detail += " GET /v1/galleries lists those there are, POST /v1/galleries creates one."
    if error.http_status >= http.HTTPStatus.INTERNAL_SERVER_ERROR and error.http_status not in FORESEEN:
        _log(error.code, error)
    return problem(error)


def _redis_error(error: redis.exceptions.RedisError) -> Response:
    _log("Redis failed", error)
    known = explained(error)
    return problem(type(known)(f"{known.detail} Nothing was accepted."))


def _os_error(error: OSError) -> Response:
    """A disk that is full, read-only or failing under an upload's temporary file, a lock, or whatever else is written."""
    if error.errno not in DISK_ERRORS:
        return _unknown_error(error)
    _log("disk failed", error)
    return problem(StorageUnavailable(f"Nothing can be stored at the moment: {os.strerror(error.errno)}."))


def _http_error(error: HTTPException) -> Response | HTTPException:
    """werkzeug's own refusals: unknown path, wrong method, a body too large or unreadable."""
    status = error.code
    if status is None or status < http.HTTPStatus.BAD_REQUEST:
        return error  # a redirect, or an answer of its own
    response = problem(_translated(status))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _translated(status: int) -> ServiceError:
    method, path = request.method, request.path
    match status:
        case http.HTTPStatus.NOT_FOUND:
            return RouteNotFound(f"There is nothing at {path!r}; /openapi.json lists what there is.")
        case http.HTTPStatus.METHOD_NOT_ALLOWED:
            return MethodNotAllowed(f"{method} is not allowed at {path!r}; the Allow header lists what is.")
        case http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            limit = request.max_content_length
            return BodyTooLarge(f"The request body is larger than the {limit} bytes allowed.", max_body_bytes=limit)
        case http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            return UnsupportedMediaType("Send the body as multipart/form-data or as application/json.")
        case _ if status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return InvalidRequest("The request could not be understood.")
        case _:
            return ServiceError("The service failed to answer this request; the log has it under the request id.")


def _unknown_error(error: Exception) -> Response:
    _log("failed", error)
    return problem(ServiceError("The service failed to answer this request; the log has it under the request id."))


def _log(what: str, error: Exception) -> None:
    """The whole of an error, under the request id that the client was sent."""
    fields = {"request_id": g.get("request_id", ""), "method": request.method, "path": request.path}
    log.error("request: %s", what, exc_info=error, extra=fields)

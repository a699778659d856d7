"""Requests that the server refuses before the application sees them: answered as problems (RFC 9457), as all others are."""

from __future__ import annotations

import contextlib
import socket
import uuid
from typing import TYPE_CHECKING

from flask import g
from gunicorn.http import errors as http

from contracts.errors import ServiceError
from infra.errors.requests import HeadersTooLarge, RequestLineTooLong, UnreadableRequest
from web.errors import problem

if TYPE_CHECKING:
    from flask import Flask

OURS = (http.ConfigurationProblem, http.InvalidResponseHeader, http.InvalidResponseHeaderName)  # no client's fault
DRAIN_S = 1.0
DRAIN_BYTES = 1 << 20
PIECE_BYTES = 65536


def refusal_of(error: BaseException) -> ServiceError | None:
    """What a client is answered of gunicorn's error; None: it is none of a request that can't be read."""
    if isinstance(error, http.LimitRequestLine):
        return RequestLineTooLong("The path with its query is too long for this server; send less in the query.")
    if isinstance(error, http.LimitRequestHeaders):
        return HeadersTooLarge("There are too many header fields, or one is too long; is a foreign cookie among them?")
    if isinstance(error, http.ParseException) and not isinstance(error, OURS):
        return UnreadableRequest("What came is no HTTP/1.1 that this server reads.")
    return None


def answer(app: Flask, error: ServiceError, client: socket.socket) -> None:
    """Writes the problem; the caller closes the connection."""
    with app.app_context():
        g.request_id = uuid.uuid4().hex
        response = problem(error)
        response.headers["X-Request-Id"] = g.request_id
    response.headers["Connection"] = "close"
    body = response.get_data()
    head = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    with contextlib.suppress(OSError):
        client.settimeout(DRAIN_S)
        client.sendall(f"HTTP/1.1 {response.status}\r\n{head}\r\n".encode("latin-1") + body)
        client.shutdown(socket.SHUT_WR)
        left = DRAIN_BYTES  # closing on what is still being sent would take the answer from the client
        while left > 0 and (piece := client.recv(PIECE_BYTES)):
            left -= len(piece)

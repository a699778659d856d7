"""Answers without content: they say nothing of a body that is not there (RFC 9110, 8.3 and 15.3.5)."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask, Response


def register(app: Flask) -> None:
    """Takes the type, which Flask gives every answer, from those of `app` with status 204."""
    app.after_request(_bare)


def _bare(response: Response) -> Response:
    if response.status_code == http.HTTPStatus.NO_CONTENT:
        response.headers.pop("Content-Type", None)
        response.headers.pop("Content-Length", None)
    return response

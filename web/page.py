"""The page for people."""

from __future__ import annotations

from flask import Blueprint, Response, render_template

from contracts.keys import Scope
from contracts.options import RECOGNIZE_OPTIONS
from web.operations import operation
from web.scopes import needs
from web.services import services

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("page", __name__)


@blueprint.get("/")
@needs(Scope.READ)
@operation("getPage", "The page for people.", {200: "text/html"})
def show() -> Response:
    """The page, with the limits of this service and the ranges of the options."""
    limits = services().settings.web
    response = Response(
        render_template(
            "index.html", max_files=limits.max_files, max_bytes=limits.max_body_bytes, options=RECOGNIZE_OPTIONS
        )
    )
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    return response

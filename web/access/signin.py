"""The page's sign-in: a form takes a key, and a cookie stands for it from then on, for pictures and event streams too.

The cookie is HttpOnly, SameSite=Strict, and Secure where the page came by https. It holds no key but the name of a session
(infra.keys.sessions). Forms are taken from this service's own pages alone (web.access.auth.require_same_origin).
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, redirect, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from infra.errors.keys import CrossSite, HostUnknown, KeyExpired, KeyInvalid
from infra.errors.requests import UnsupportedMediaType
from web.access import auth
from web.access.scopes import open_to_all
from web.openapi.operations import operation
from web.pages.page import page
from web.services import services

if TYPE_CHECKING:
    from flask import Flask

    from infra.keys.store import Key

FORM = "application/x-www-form-urlencoded"
# A path of this host: a link to the sign-in must not lead elsewhere afterwards.
LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20]*")

blueprint = Blueprint("signin", __name__)
log = logging.getLogger("shitu.audit")


class SignInQuery(BaseModel):
    """Where to go afterwards."""

    next: str = Field("", description="A path of this service; the page without it.")


class SignInFields(BaseModel):
    """What the form sends."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field("", description="An API key.")
    next: str = Field("", description="As in the query.")


def register(app: Flask) -> None:
    """Lets every template say who is signed in: `signed_in`, the key, or None."""
    app.context_processor(lambda: {"signed_in": auth.key()})


@blueprint.get("/signin")
@open_to_all
@operation(
    "getSignIn", "The page's sign-in, or who is signed in.", {200: "text/html"}, (HostUnknown,), query=SignInQuery
)
def show() -> Response:
    """The form; for who is signed in, their key and the way out."""
    try:
        signed_in = auth.session_key()
    except (KeyInvalid, KeyExpired):
        signed_in = None
    return _page(signed_in=signed_in, next=_local(request.args.get("next", "")))


@blueprint.post("/signin")
@open_to_all
@operation(
    "signIn",
    "Sign the page in with a key.",
    {303: None, 401: "text/html"},
    (KeyInvalid, KeyExpired, CrossSite, HostUnknown, UnsupportedMediaType),
    body={FORM: SignInFields},
)
def sign_in() -> Response:
    """Opens a session for a valid key; the form again, with the reason, for another."""
    auth.require_same_origin()
    if request.mimetype != FORM:
        raise UnsupportedMediaType(f"Send the form as {FORM}.")
    target = _local(request.form.get("next", ""))
    try:
        key = services().keys.find(request.form.get("key", "").strip())
    except (KeyInvalid, KeyExpired) as error:
        response = _page(signed_in=None, next=target, refused=True)
        response.status_code = error.http_status
        response.headers["WWW-Authenticate"] = auth.CHALLENGE
        return response
    log.info("signed in", extra={"key": key.id, "key_name": key.name, "client": request.remote_addr})
    response = _see_other(target or url_for("page.show"))
    response.set_cookie(
        auth.COOKIE,
        services().sessions.open(key.id),
        max_age=int(services().settings.keys.session_s),
        **_cookie(),
    )
    return response


@blueprint.post("/signout")
@open_to_all
@operation("signOut", "End the page's session.", {303: None}, (CrossSite, HostUnknown))
def sign_out() -> Response:
    """Ends the session here and in Redis."""
    auth.require_same_origin()
    services().sessions.close(request.cookies.get(auth.COOKIE, ""))
    response = _see_other(url_for(".show"))
    response.delete_cookie(auth.COOKIE, **_cookie())
    return response


def _page(*, signed_in: Key | None, next: str, refused: bool = False) -> Response:  # noqa: A002 - the field's name
    required = bool(services().settings.keys.required)
    response = page("signin.html", "", signed_in=signed_in, required=required, next=next, refused=refused)
    # A form's Origin, which shows where it comes from, is not sent under `no-referrer`.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _see_other(target: str) -> Response:
    response = Response(status=303)
    response.headers["Location"] = redirect(target).headers["Location"]
    return response


def _cookie() -> dict[str, Any]:
    return {"path": request.script_root or "/", "secure": request.is_secure, "httponly": True, "samesite": "Strict"}


def _local(target: str) -> str:
    return target if LOCAL_PATH.fullmatch(target) else ""

"""Who sends a request, and whether they may: `Authorization: Bearer shitu_…`, or the page's cookie, against the view's scope.

Answers by RFC 6750: 401 with `WWW-Authenticate: Bearer` where no valid key is sent, 403 where its scope is too narrow.
Where keys are off, Authorization is not looked at: it may be meant for a proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Response, current_app, g, request, url_for

from contracts.keys import Scope, allows
from infra.errors.keys import CrossSite, KeyExpired, KeyInvalid, KeyMissing, KeysRequired, ScopeMissing
from infra.runtime import audit
from infra.stack.exposure import REMEDY, is_loopback
from web import access_log
from web.access import own_pages
from web.access.own_pages import SAFE_METHODS
from web.access.scopes import scope_of
from web.openapi.operations import operation_of
from web.services import services

if TYPE_CHECKING:
    from flask import Flask

    from infra.keys.store import Key

PEER = "shitu.peer"  # in the environ: the address of the connection, where REMOTE_ADDR is from a proxy
COOKIE = "shitu_session"
CHALLENGE = 'Bearer realm="shitu"'
METRICS = "health.metrics"


def register(app: Flask) -> None:
    """Checks the key of every request to `app`, before anything else of it is read."""
    app.before_request(check)
    app.after_request(_challenge)


def key() -> Key | None:
    """The key of the current request; None where none is required."""
    return cast("Key | None", g.get("key"))


def owner() -> str:
    """Whose the current request is: the id of its key, "" where none is required."""
    found = key()
    return "" if found is None else found.id


def check() -> Response | None:
    """Lets a request in; a person who is not signed in is sent to the sign-in.

    Raises KeyMissing, KeyInvalid, KeyExpired, ScopeMissing, KeysRequired, HostUnknown, CrossSite.
    """
    scope = _wanted()
    keys = services().settings.keys
    is_open = scope is None or (keys.open_metrics and request.endpoint == METRICS)
    local = is_loopback(peer()) and is_loopback(request.remote_addr or "")
    if keys.required is None and not is_open and not local:
        raise KeysRequired(f"This service can be reached from other machines, and no keys are required. {REMEDY}")
    if not keys.required:
        own_pages.require()
        return None
    if scope is None or is_open:
        return None
    try:
        found = _sent_key()
    except (KeyMissing, KeyInvalid, KeyExpired):
        if not _for_people():
            raise
        g.pop("challenge", None)
        back = f"{request.script_root}{request.full_path.rstrip('?')}"
        return Response(status=303, headers={"Location": url_for("signin.show", next=back)})
    g.key = found
    request.environ.setdefault(access_log.SEEN, {})["key"] = found.id
    audit.act_as(
        f"client {access_log.client(request.environ)}",
        request_id=g.get("request_id", ""),
        key=found.id,
        key_name=found.name,
    )
    if not allows(found.scopes, scope):
        g.challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        held = ", ".join(found.scopes)
        raise ScopeMissing(f"This needs a key with the scope {scope}; this one has {held}.", scope=scope.value)
    return None


def peer() -> str:
    """The address that the connection comes from, whatever a proxy says."""
    environ = request.environ
    return str(environ[PEER] if PEER in environ else environ.get("REMOTE_ADDR") or "")


def session_key() -> Key | None:
    """The key of the page's session; None: there is none. Raises KeyInvalid, KeyExpired where its key is gone."""
    token = request.cookies.get(COOKIE)
    key_id = services().sessions.find(token) if token else None
    return None if key_id is None else services().keys.use(key_id)


def require_same_origin() -> None:
    """Raises CrossSite if a browser does not say that one of this service's own pages sent the request.

    What a browser adds by itself proves nothing of who made it send the request; SameSite keeps other sites out, but not the
    neighbours on other ports and sub-domains.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin", "")
    if site != "same-origin" and (site is not None or origin.partition("://")[2] != request.host):
        raise CrossSite(
            "Only a page of this service itself can send this. Programs send `Authorization: Bearer shitu_…`; "
            "behind a proxy, Host (or X-Forwarded-Host) must be the host that the browser requested."
        )


def _for_people() -> bool:
    """Whether the current request is a browser's for a page."""
    operation = operation_of(current_app.view_functions[request.url_rule.endpoint]) if request.url_rule else None
    return operation is not None and operation.answer.get(200) == "text/html" and request.method in {"GET", "HEAD"}


def _wanted() -> Scope | None:
    """The scope that the current request needs; None: none, as what does not exist and the page's own files."""
    if request.url_rule is None or request.method == "OPTIONS" or request.endpoint == "static":
        return None
    return scope_of(current_app.view_functions[request.url_rule.endpoint])


def _sent_key() -> Key:
    if "Authorization" not in request.headers and (by_cookie := session_key()) is not None:
        if request.method not in SAFE_METHODS:
            require_same_origin()
        return by_cookie
    kind, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        g.challenge = CHALLENGE
        raise KeyMissing("This service requires a key: send `Authorization: Bearer shitu_…`.")
    try:
        return services().keys.find(token.strip())
    except (KeyInvalid, KeyExpired):
        g.challenge = f'{CHALLENGE}, error="invalid_token"'
        raise


def _challenge(response: Response) -> Response:
    if "challenge" in g:
        response.headers["WWW-Authenticate"] = g.challenge
    return response

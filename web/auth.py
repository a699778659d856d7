"""Who asks, and whether they may: `Authorization: Bearer shitu_…` against the scope that stands beside the view.

Answers by RFC 6750: 401 with `WWW-Authenticate: Bearer` where no valid key is sent, 403 where its scope is too narrow.
Where keys are off, Authorization is not looked at: it may be meant for a proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, g, request

from contracts.keys import Scope, allows
from infra.errors import KeyExpired, KeyInvalid, KeyMissing, KeysRequired, ScopeMissing
from infra.runtime import audit
from infra.stack.exposure import REMEDY, is_loopback
from web import access_log
from web.scopes import scope_of
from web.services import services

if TYPE_CHECKING:
    from flask import Flask, Response

    from infra.keys.store import Key

PEER = "shitu.peer"  # in the environ: the address of the connection, where REMOTE_ADDR was told by a proxy
CHALLENGE = 'Bearer realm="shitu"'
METRICS = "health.metrics"


def register(app: Flask) -> None:
    """Asks every request of `app` for its key, before anything else of it is looked at."""
    app.before_request(check)
    app.after_request(_challenge)


def key() -> Key | None:
    """The key of the current request; None where none is asked for."""
    return cast("Key | None", g.get("key"))


def owner() -> str:
    """Whose the current request is: the id of its key, "" where none is asked for."""
    found = key()
    return "" if found is None else found.id


def check() -> None:
    """Raises KeyMissing, KeyInvalid, KeyExpired, ScopeMissing, KeysRequired."""
    scope = _wanted()
    keys = services().settings.keys
    if scope is None or (keys.open_metrics and request.endpoint == METRICS):
        return
    if keys.required is None and not (is_loopback(peer()) and is_loopback(request.remote_addr or "")):
        raise KeysRequired(f"This service can be reached from other machines, and no keys are asked for. {REMEDY}")
    if not keys.required:
        return
    found = _sent_key()
    g.key = found
    g.key_id = found.id  # whose an Idempotency-Key is
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


def peer() -> str:
    """The address that the connection comes from, whatever a proxy says."""
    environ = request.environ
    return str(environ[PEER] if PEER in environ else environ.get("REMOTE_ADDR") or "")


def _wanted() -> Scope | None:
    """The scope that the current request asks for; None: none, as what does not exist and the page's own files."""
    if request.url_rule is None or request.method == "OPTIONS" or request.endpoint == "static":
        return None
    return scope_of(current_app.view_functions[request.url_rule.endpoint])


def _sent_key() -> Key:
    kind, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        g.challenge = CHALLENGE
        raise KeyMissing("This service asks for a key: send `Authorization: Bearer shitu_…`.")
    try:
        return services().keys.find(token.strip())
    except (KeyInvalid, KeyExpired):
        g.challenge = f'{CHALLENGE}, error="invalid_token"'
        raise


def _challenge(response: Response) -> Response:
    if "challenge" in g:
        response.headers["WWW-Authenticate"] = g.challenge
    return response

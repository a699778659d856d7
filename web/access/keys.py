"""API keys over HTTP: list, make, revoke. Only for keys with the scope admin."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Annotated, Literal

from flask import Blueprint, Response, jsonify
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from contracts.jobs import described
from contracts.keys import Scope, clean_key_name
from infra.errors.keys import KeyNotFound
from infra.jobs.records import isoformat
from infra.keys.store import Key, Limits
from web.access import auth
from web.access.scopes import needs
from web.openapi.operations import BODY, operation
from web.requests.json_body import sent_json
from web.requests.members import Strict
from web.services import services

LONGEST_S = 10 * 366 * 86_400.0

Most = Annotated[int, Field(ge=0, le=10**15)]
ScopeName = Literal["read", "recognize", "manage", "admin"]

blueprint = Blueprint("keys", __name__, url_prefix="/v1/keys")
log = logging.getLogger("shitu.audit")


class KeyLimits(Strict):
    """What one key may use; left out or null: as the settings say for all keys; 0: no limit."""

    requests_per_minute: Most | None = None
    open_jobs: Most | None = None
    bytes_per_day: Most | None = None


class KeyRequest(Strict):
    """A key to make."""

    name: Annotated[str, AfterValidator(clean_key_name)] = Field(
        description="What it is for; 1 to 100 visible characters."
    )
    scopes: list[ScopeName] = Field(min_length=1, description="Each includes those before it in this list of values.")
    expires_in_s: float | None = Field(None, gt=0, le=LONGEST_S, description="Seconds until it is not valid any more.")
    limits: KeyLimits = Field(default_factory=KeyLimits)


class LimitsShown(TypedDict):
    """A key's own limits; null: as the settings say."""

    requests_per_minute: int | None
    open_jobs: int | None
    bytes_per_day: int | None


@described
class KeyShown(TypedDict):
    """A key, without what proves it."""

    id: str
    name: str
    scopes: list[ScopeName]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    """To about a minute; null: never."""
    limits: LimitsShown


@described
class KeyMade(KeyShown):
    """A new key."""

    token: str
    """The key itself. It is shown once and kept nowhere."""


@described
class KeyList(TypedDict):
    """All keys, oldest first."""

    keys: list[KeyShown]


@blueprint.get("")
@needs(Scope.ADMIN)
@operation("listKeys", "All API keys.", {200: KeyList})
def index() -> Response:
    """All keys, oldest first."""
    return jsonify(keys=[describe(key) for key in services().keys.all()])


@blueprint.post("")
@needs(Scope.ADMIN)
@operation("createKey", "Make an API key.", {201: KeyMade}, BODY, body={"application/json": KeyRequest})
def create() -> tuple[Response, int, dict[str, str]]:
    """A new key, shown this once."""
    sent = sent_json(KeyRequest)
    limits = Limits(**sent.limits.model_dump())
    key, token = services().keys.create(sent.name, [Scope(one) for one in sent.scopes], sent.expires_in_s, limits)
    log.info("key made", extra={"key_id": key.id, "key_name": key.name, "scopes": list(key.scopes), "by": auth.owner()})
    made: KeyMade = {**describe(key), "token": token}
    return jsonify(made), 201, {"Cache-Control": "no-store"}


@blueprint.delete("/<key_id>")
@needs(Scope.ADMIN)
@operation("revokeKey", "Revoke an API key.", {204: None}, (KeyNotFound,))
def revoke(key_id: str) -> tuple[str, int]:
    """From now on the key opens nothing, be it the caller's own."""
    key = services().keys.revoke(key_id)
    log.info("key revoked", extra={"key_id": key.id, "key_name": key.name, "by": auth.owner()})
    return "", 204


def describe(key: Key) -> KeyShown:
    """A key as JSON."""
    limits = asdict(key.limits)
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.value for scope in key.scopes],
        "created_at": str(isoformat(key.created_at)),
        "expires_at": isoformat(key.expires_at),
        "last_used_at": isoformat(key.last_used_at),
        "limits": {
            "requests_per_minute": limits["requests_per_minute"],
            "open_jobs": limits["open_jobs"],
            "bytes_per_day": limits["bytes_per_day"],
        },
    }

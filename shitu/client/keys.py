"""API keys, for a key with the scope admin, and the state of the service. Steps without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from shitu.client.exchange import Ref, Steps, call, id_of

if TYPE_CHECKING:
    from web.access.keys import KeyMade, KeyShown
    from web.answers import System


def create_key(
    name: str,
    scopes: Sequence[Literal["read", "recognize", "manage", "admin"]],
    *,
    expires_in_s: float | None = None,
    requests_per_minute: int | None = None,
    open_jobs: int | None = None,
    bytes_per_day: int | None = None,
) -> Steps[KeyMade]:
    """Makes a key; its `token` is in this answer alone."""
    limits = {"requests_per_minute": requests_per_minute, "open_jobs": open_jobs, "bytes_per_day": bytes_per_day}
    body = {
        "name": name,
        "scopes": list(scopes),
        "expires_in_s": expires_in_s,
        "limits": {one: most for one, most in limits.items() if most is not None},
    }
    found: KeyMade = yield from call("POST", "/keys", json=body, repeatable=False)
    return found


def list_keys() -> Steps[Sequence[KeyShown]]:
    """All keys, oldest first, without what proves them."""
    found = yield from call("GET", "/keys")
    keys: Sequence[KeyShown] = found["keys"]
    return keys


def revoke_key(key: Ref) -> Steps[None]:
    """From now on the key opens nothing. Raises NotFound."""
    yield from call("DELETE", f"/keys/{id_of(key)}", repeatable=False)


def system() -> Steps[System]:
    """Workers, queues and jobs of the service as they are now."""
    found: System = yield from call("GET", "/system")
    return found

"""Sessions of the page: who signed in with a key has a cookie, and Redis knows by its hash which key that was.

A session is worth what its key is: revoked, expired or narrowed, and the session is too, for the key is looked up at each
request. It ends when nothing came of it for its length.

Keys in Redis:
    shitu:keys:session:{SHA-256 of the cookie}   string   the key's id; expires by itself
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING

from infra.redis.durability import wait_until_written

if TYPE_CHECKING:
    import redis

TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
RENEWED_BELOW = 0.5  # of its length: a write for each request would be too many


class Sessions:
    """Opened and closed at sign-in and sign-out. Methods may raise redis.RedisError."""

    def __init__(self, client: redis.Redis, length_s: float) -> None:
        self._redis = client
        self._length_s = length_s

    def open(self, key_id: str) -> str:
        """A new session's cookie."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._redis.set(_name(token), key_id, px=int(1000 * self._length_s))
        return token

    def find(self, token: str) -> str | None:
        """The id of the key that the session was opened with; None: there is no such session, or it has ended."""
        if not TOKEN.fullmatch(token):
            return None
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(_name(token))
            pipe.pttl(_name(token))
            key_id, left_ms = pipe.execute()
        if key_id is not None and left_ms < 1000 * self._length_s * RENEWED_BELOW:
            self._redis.pexpire(_name(token), int(1000 * self._length_s))
        return None if key_id is None else str(key_id)

    def close(self, token: str) -> None:
        """Ends the session, for good: no restart of Redis brings it back."""
        if TOKEN.fullmatch(token):
            self._redis.delete(_name(token))
            wait_until_written(self._redis)


def _name(token: str) -> str:
    return f"shitu:keys:session:{hashlib.sha256(token.encode()).hexdigest()}"

"""API keys in Redis: made, found by what a caller sends, listed, revoked. Only a hash of a key is kept.

A key proves itself by 256 random bits, so that a plain SHA-256 is enough at rest: nothing is to be guessed. Keys are as
durable as the ledger next to them: they are in the same append-only file, and creating and revoking wait until it has them.
A revoked key is gone at once for every process, for none of them remembers one.

Keys in Redis:
    shitu:key:{id}     hash   name, scopes, hash, created_at, and where they are: expires_at, last_used_at, limits
    shitu:keys         zset   ids by the time they were made

Every method may raise redis.RedisError when the server cannot be reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import redis

from contracts.keys import ALPHABET, FINDER_CHARS, KEY_ID, PROOF_CHARS, TOKEN, Scope, clean_key_name
from infra.errors.keys import KeyExpired, KeyInvalid, KeyNotFound
from infra.redis.client import server_time
from infra.redis.durability import wait_until_written

KEYS = "shitu:keys"
USED_EVERY_S = 60.0  # how exactly the last use is known: a write for each request would be too many
NO_HASH = "0" * 64

# A key that was revoked meanwhile must not come back as half a record.
TOUCH = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'last_used_at', ARGV[1]) end
"""


@dataclass(frozen=True)
class Limits:
    """What one key may use. None: as the settings say for all keys; 0: no limit."""

    requests_per_minute: int | None = None
    open_jobs: int | None = None
    bytes_per_day: int | None = None


@dataclass(frozen=True)
class Key:
    """A key's record; the key itself is known to nobody but its holder. Times are seconds since 1970."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    limits: Limits = Limits()


def record_key(key_id: str) -> str:
    """Where the record of a key is."""
    return f"shitu:key:{key_id}"


class KeyStore:
    """The keys of an installation. `client` must decode replies (infra.redis.client). Safe to share between threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._touch = client.register_script(TOUCH)

    def create(
        self, name: str, scopes: Iterable[Scope], expires_in_s: float | None = None, limits: Limits | None = None
    ) -> tuple[Key, str]:
        """A new key: its record, and the key itself, which is nowhere to be had again. Raises ValueError for a bad name."""
        now = server_time(self._redis)
        finder, proof = _random(FINDER_CHARS), _random(PROOF_CHARS)
        wanted = set(scopes)
        key = Key(
            id=f"key_{finder}",
            name=clean_key_name(name),
            scopes=tuple(scope for scope in Scope if scope in wanted),
            created_at=now,
            expires_at=None if expires_in_s is None else now + expires_in_s,
            limits=limits or Limits(),
        )
        record: dict[Any, Any] = {
            "id": key.id,
            "name": key.name,
            "scopes": " ".join(key.scopes),
            "hash": _hash(proof),
            "created_at": repr(now),
            "limits": json.dumps(asdict(key.limits)),
        }
        if key.expires_at is not None:
            record["expires_at"] = repr(key.expires_at)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(record_key(key.id), mapping=record)
            pipe.zadd(KEYS, {key.id: now})
            pipe.execute()
        wait_until_written(self._redis)
        return key, f"shitu_{finder}_{proof}"

    def find(self, token: str) -> Key:
        """The key that `token` is. Raises KeyInvalid: no such key, or revoked; KeyExpired."""
        found = TOKEN.fullmatch(token)
        if found is None:
            raise KeyInvalid("This is no key of this service: one begins with shitu_ and has 71 characters.")
        record, now = self._read(f"key_{found[1]}")
        # The same comparison whether there is a record or not.
        if not hmac.compare_digest(_hash(found[2]), record.get("hash", NO_HASH)):
            raise KeyInvalid("This key is not valid: it was never made here, or was revoked.")
        return self._usable(record, now)

    def use(self, key_id: str) -> Key:
        """The key of a session that was opened with it. Raises KeyInvalid, KeyExpired."""
        record, now = self._read(key_id)
        if not record:
            raise KeyInvalid("The key that this session was opened with was revoked.")
        return self._usable(record, now)

    def get(self, key_id: str) -> Key:
        """Raises KeyNotFound."""
        record = self._redis.hgetall(record_key(key_id)) if KEY_ID.fullmatch(key_id) else {}
        if not record:
            raise KeyNotFound("There is no key with this id.")
        return parse_key({str(name): str(value) for name, value in record.items()})

    def all(self) -> list[Key]:
        """All keys, oldest first."""
        ids = [str(found) for found in self._redis.zrange(KEYS, 0, -1)]
        with self._redis.pipeline(transaction=False) as pipe:
            for key_id in ids:
                pipe.hgetall(record_key(key_id))
            return [parse_key(record) for record in pipe.execute() if record]

    def count(self) -> int:
        """How many keys there are."""
        return int(self._redis.zcard(KEYS))

    def revoke(self, key_id: str) -> Key:
        """From now on the key opens nothing. Returns what it was. Raises KeyNotFound."""
        key = self.get(key_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(record_key(key_id))
            pipe.zrem(KEYS, key_id)
            pipe.execute()
        wait_until_written(self._redis)
        return key

    def _read(self, key_id: str) -> tuple[dict[str, str], float]:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(record_key(key_id))
            pipe.time()
            record, (seconds, microseconds) = pipe.execute()
        return record, seconds + microseconds / 1e6

    def _usable(self, record: dict[str, str], now: float) -> Key:
        key = parse_key(record)
        if key.expires_at is not None and key.expires_at <= now:
            raise KeyExpired("This key has expired; ask for a new one.")
        if now - (key.last_used_at or 0.0) > USED_EVERY_S:
            with contextlib.suppress(redis.ResponseError):  # a Redis that takes no writes can still be read
                self._touch(keys=[record_key(key.id)], args=[repr(now)])
        return key


def parse_key(record: dict[str, str]) -> Key:
    """A key from its hash in Redis. Scopes and limits that only a later version knows are passed over: they permit nothing."""
    known, limits = {scope.value for scope in Scope}, json.loads(record["limits"])
    expires_at, last_used_at = record.get("expires_at"), record.get("last_used_at")
    return Key(
        id=record["id"],
        name=record["name"],
        scopes=tuple(Scope(scope) for scope in record["scopes"].split() if scope in known),
        created_at=float(record["created_at"]),
        expires_at=float(expires_at) if expires_at else None,
        last_used_at=float(last_used_at) if last_used_at else None,
        limits=Limits(**{member.name: limits.get(member.name) for member in fields(Limits)}),
    )


def _random(characters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def _hash(proof: str) -> str:
    return hashlib.sha256(proof.encode()).hexdigest()

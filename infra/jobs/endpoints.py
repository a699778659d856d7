"""Registered webhook endpoints: who is notified of which events, and with which keys. Keys are sealed before they come here.

All are kept in Redis next to the ledger, because the script that ends a job writes the messages to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from infra.errors.webhooks import TooManyWebhooks, WebhookNotFound
from infra.jobs import scripts
from infra.jobs.records import ENDPOINT_ID
from infra.redis.durability import wait_until_written

ENDPOINTS = "shitu:webhooks"
MOST = 100  # each end of a job looks at all of them
BY_REQUEST, GONE, FAILING = "by_request", "gone", "failing"

# KEYS: the endpoint. ARGV: names and values; an empty value removes. A deleted endpoint stays deleted.
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i]) else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
return 1
"""
# KEYS: the endpoint, all of them. ARGV: the most there may be, its id, names and values.
_CREATE = """
if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('SADD', KEYS[2], ARGV[2])
return 1
"""
# ARGV: the new keys and their public half, until when the ones before are good ('': no longer), now.
_ROTATE = """
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', key, 'previous_keys', 'previous_public_key', 'previous_until')
else
  redis.call('HSET', key, 'previous_keys', redis.call('HGET', key, 'keys'),
    'previous_public_key', redis.call('HGET', key, 'public_key'), 'previous_until', ARGV[3])
end
redis.call('HSET', key, 'keys', ARGV[1], 'public_key', ARGV[2], 'updated_at', ARGV[4])
return 1
"""

# ARGV: sealed keys as they were read, and the same ones sealed again. What was rotated meanwhile stays.
_RESEAL = """
for _, name in ipairs({'keys', 'previous_keys'}) do
  if redis.call('HGET', KEYS[1], name) == ARGV[1] then redis.call('HSET', KEYS[1], name, ARGV[2]) end
end
"""


@dataclass(frozen=True)
class Endpoint:
    """Who is notified. Times are seconds since 1970. The keys are sealed: infra.net.webhook_keys opens them."""

    id: str
    url: str
    events: tuple[str, ...]  # contracts.events
    description: str
    enabled: bool
    created_at: float
    updated_at: float
    sealed_keys: str
    public_key: str
    sealed_previous_keys: str | None = None
    previous_public_key: str | None = None
    previous_until: float | None = None
    disabled_reason: str | None = None
    disabled_at: float | None = None
    failing_since: float | None = None
    failures: int = 0  # since then

    def keys_at(self, now: float) -> tuple[str, ...]:
        """The sealed keys that sign at this time, the newest first."""
        both = self.sealed_previous_keys is not None and self.previous_until is not None and now < self.previous_until
        return (self.sealed_keys, *((self.sealed_previous_keys,) if both and self.sealed_previous_keys else ()))


class Endpoints:
    """The part of the ledger about endpoints; `now` is its clock. Safe to share between threads."""

    def __init__(self, client: redis.Redis, now: Callable[[], float]) -> None:
        self._redis = client
        self._now = now
        self._create = client.register_script(_CREATE)
        self._change = client.register_script(_CHANGE)
        self._rotate = client.register_script(_ROTATE)
        self._reseal = client.register_script(_RESEAL)

    def create(
        self,
        endpoint_id: str,
        url: str,
        events: tuple[str, ...],
        description: str,
        *,
        enabled: bool,
        sealed_keys: str,
        public_key: str,
    ) -> Endpoint:
        """Registers one, notified of what ends from now on. Raises TooManyWebhooks."""
        now = _seconds(self._now())
        record: dict[Any, Any] = {
            "id": endpoint_id,
            "url": url,
            "events": " ".join(events),
            "description": json.dumps(description),
            "state": "enabled" if enabled else "disabled",
            "created_at": now,
            "updated_at": now,
            "keys": sealed_keys,
            "public_key": public_key,
        }
        if not enabled:
            record |= {"disabled_reason": BY_REQUEST, "disabled_at": now}
        flat = [part for pair in record.items() for part in pair]
        if not self._create(keys=[_key(endpoint_id), ENDPOINTS], args=[MOST, endpoint_id, *flat]):
            raise TooManyWebhooks(f"There are {MOST} webhooks already; delete one that is not needed.")
        wait_until_written(self._redis)
        return self.get(endpoint_id)

    def get(self, endpoint_id: str) -> Endpoint:
        """Raises WebhookNotFound."""
        record = self._redis.hgetall(_key(endpoint_id)) if ENDPOINT_ID.fullmatch(endpoint_id) else {}
        if not record:
            raise WebhookNotFound(f"There is no webhook {endpoint_id[:64]!r}.")
        return _parse({str(name): str(value) for name, value in record.items()})

    def all(self) -> tuple[Endpoint, ...]:
        """The oldest first."""
        ids = sorted(str(one) for one in self._redis.smembers(ENDPOINTS))
        with self._redis.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.hgetall(_key(one))
            return tuple(_parse(record) for record in pipe.execute() if record)

    def update(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: tuple[str, ...] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """Changes what is given. Enabling forgets why it was disabled, and its failures. Raises WebhookNotFound."""
        before = self.get(endpoint_id)
        now = _seconds(self._now())
        changes = {"updated_at": now}
        if url is not None:
            changes["url"] = url
        if events is not None:
            changes["events"] = " ".join(events)
        if description is not None:
            changes["description"] = json.dumps(description)
        if enabled is True:
            nothing = dict.fromkeys(("disabled_reason", "disabled_at", "failing_since", "failures"), "")
            changes |= {"state": "enabled", **(nothing if not before.enabled else {})}
        elif enabled is False and before.enabled:
            changes |= {"state": "disabled", "disabled_reason": BY_REQUEST, "disabled_at": now}
        self._run(self._change, endpoint_id, *(part for pair in changes.items() for part in pair))
        return self.get(endpoint_id)

    def rotate(self, endpoint_id: str, sealed_keys: str, public_key: str, overlap_s: float) -> Endpoint:
        """New keys; those before sign too for `overlap_s` seconds more, and older ones no longer. Raises WebhookNotFound."""
        now = self._now()
        until = _seconds(now + overlap_s) if overlap_s > 0 else ""
        self._run(self._rotate, endpoint_id, sealed_keys, public_key, until, _seconds(now))
        return self.get(endpoint_id)

    def reseal(self, endpoint_id: str, before: str, after: str) -> None:
        """Replaces sealed keys by the same ones, sealed again."""
        self._reseal(keys=[_key(endpoint_id)], args=[before, after])

    def delete(self, endpoint_id: str) -> None:
        """Forgets it with its log; what is still to be sent to it is not. Raises WebhookNotFound.

        Interrupted in the middle, it leaves messages that are dropped when they are due and removed with their jobs.
        """
        self.get(endpoint_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.srem(ENDPOINTS, endpoint_id)
            pipe.delete(_key(endpoint_id))
            pipe.execute()
        for where in ("flying", "waiting", "pace", "next"):
            self._redis.delete(f"shitu:receiver:{endpoint_id}:{where}")
        listed = deliveries_key(endpoint_id)
        while ids := [str(one) for one in self._redis.zrange(listed, 0, 499)]:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.zrem(scripts.DUE, *ids)
                for one in ids:
                    pipe.delete(scripts.delivery_key(one), f"{scripts.delivery_key(one)}:log")
                pipe.zrem(listed, *ids)
                pipe.execute()

    def _run(self, script: Any, endpoint_id: str, *args: str) -> None:
        if not (ENDPOINT_ID.fullmatch(endpoint_id) and script(keys=[_key(endpoint_id)], args=list(args))):
            raise WebhookNotFound(f"There is no webhook {endpoint_id[:64]!r}.")


def deliveries_key(endpoint_id: str) -> str:
    """The key of an endpoint's messages by time."""
    return f"{_key(endpoint_id)}:deliveries"


def _key(endpoint_id: str) -> str:
    return f"shitu:webhook:{endpoint_id}"


def _seconds(at: float) -> str:
    return f"{at:.6f}"


def _parse(record: dict[str, str]) -> Endpoint:
    def number(name: str) -> float | None:
        return float(record[name]) if record.get(name) else None

    return Endpoint(
        id=record["id"],
        url=record["url"],
        events=tuple(record["events"].split()),
        description=str(json.loads(record["description"])),
        enabled=record["state"] == "enabled",
        created_at=float(record["created_at"]),
        updated_at=float(record["updated_at"]),
        sealed_keys=record["keys"],
        public_key=record["public_key"],
        sealed_previous_keys=record.get("previous_keys"),
        previous_public_key=record.get("previous_public_key"),
        previous_until=number("previous_until"),
        disabled_reason=record.get("disabled_reason"),
        disabled_at=number("disabled_at"),
        failing_since=number("failing_since"),
        failures=int(record.get("failures", 0)),
    )

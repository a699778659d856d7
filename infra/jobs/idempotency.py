"""Remembers what a request with an Idempotency-Key was answered, so that its repetition is answered the same and makes nothing new.

draft-ietf-httpapi-idempotency-key-header-07. A key is reserved before anything is made, together with the random part of
the id of what will be made. Whoever dies in between leaves a reservation that lapses soon; the next one takes it over
*with the same id*, and creating a job, a gallery or a batch whose id is there already gives the one that is there. So a
crash blocks a key for LEASE_S seconds at most and never makes two of a thing.

    shitu:jobs:idempotent:{scope}   hash   fingerprint, token, until, suffix, and: made (an id), or answer (JSON)
"""

from __future__ import annotations

import hashlib
import secrets
import time as system_time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from infra.jobs.records import new_id
from infra.jobs.scripts import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

KEPT_S = 86_400.0
LEASE_S = 15.0  # longer than storing an upload takes; a takeover before its end would still make nothing twice

_RESERVE = (
    CLOCK
    + """
local key, fingerprint, token, suffix = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local kept_ms, until_ = math.floor(tonumber(ARGV[5]) * 1000), seconds(now + tonumber(ARGV[6]))
local known = redis.call('HMGET', key, 'fingerprint', 'until', 'suffix', 'made', 'answer', 'token')
if not known[1] then
  redis.call('HSET', key, 'fingerprint', fingerprint, 'token', token, 'until', until_, 'suffix', suffix)
  redis.call('PEXPIRE', key, kept_ms)
  return {'reserved', suffix, '', ''}
end
if known[1] ~= fingerprint then return {'reused', '', '', ''} end
if known[5] then return {'answered', known[3], known[4] or '', known[5]} end
if known[6] == token then return {'reserved', known[3], known[4] or '', ''} end
if tonumber(known[2]) > now then return {'in_progress', known[3], known[4] or '', ''} end
redis.call('HSET', key, 'token', token, 'until', until_)
return {'taken_over', known[3], known[4] or '', ''}
"""
)

# What comes after another one has taken the reservation over is dropped: made and answer are the same ids anyway.
_NOTE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
"""

_FREE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class State(StrEnum):
    """What is known of a key."""

    RESERVED = "reserved"  # it is ours now
    TAKEN_OVER = "taken_over"  # likewise, after one that left it: `made` may be there already
    IN_PROGRESS = "in_progress"
    ANSWERED = "answered"
    REUSED = "reused"  # with another payload


@dataclass(frozen=True)
class Reservation:
    """One request's hold on a key. `suffix`: of the id to make; `made`: the id that may have been made; `answer`: as kept."""

    scope: str
    token: str
    state: State
    suffix: str
    made: str
    answer: str


class Idempotency:
    """The keys of one Redis; may be used by many threads. Every method may raise redis.RedisError. `now` as in JobLedger."""

    def __init__(
        self,
        client: redis.Redis,
        now: Callable[[], float] | None = None,
        kept_s: float = KEPT_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._redis = client
        self._now = now
        self._kept_s, self._lease_s = kept_s, lease_s
        self._reserve = client.register_script(_RESERVE)
        self._note, self._free = client.register_script(_NOTE), client.register_script(_FREE)

    def reserve(self, scope: str, fingerprint: str) -> Reservation:
        """What is known of the key of `scope`; reserves it if nothing is, or what reserved it has lapsed."""
        token = secrets.token_hex(8)
        suffix = new_id("", self._now() if self._now else system_time.time()).removeprefix("_")
        clock = "" if self._now is None else repr(self._now())
        args: list[str | float] = [clock, fingerprint, token, suffix, self._kept_s, self._lease_s]
        state, kept_suffix, made, answer = map(str, self._reserve(keys=[_key(scope)], args=args))
        return Reservation(scope, token, State(state), kept_suffix, made, answer)

    def making(self, held: Reservation, made: str) -> None:
        """Notes the id that is about to be made."""
        self._note(keys=[_key(held.scope)], args=[held.token, "made", made])

    def answered(self, held: Reservation, answer: str) -> None:
        """Keeps the answer for repetitions."""
        self._note(keys=[_key(held.scope)], args=[held.token, "answer", answer])

    def free(self, held: Reservation) -> None:
        """Nothing was made: the key may be used for another payload."""
        self._free(keys=[_key(held.scope)], args=[held.token])

    def lapse(self, held: Reservation) -> None:
        """It is not known what was made: the next one takes the reservation over at once."""
        self._note(keys=[_key(held.scope)], args=[held.token, "until", "0"])


def scope_of(owner: str, method: str, path: str, key: str) -> str:
    """What a key is unique in: the API key's owner, the method and the path."""
    return hashlib.sha256("\0".join((owner, method, path, key)).encode("utf-8", "surrogatepass")).hexdigest()


def _key(scope: str) -> str:
    return f"shitu:jobs:idempotent:{scope}"

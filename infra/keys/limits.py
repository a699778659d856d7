"""How much a key may use: requests a minute, bytes a day, open jobs. Counted in Redis, for all web processes together.

Requests and bytes are token buckets: a key may use its whole quota at once and gets it back evenly, so that who waits
learns when the next one is free, and does not come back at a full minute with all the others. One script takes from both or
from neither. Open jobs are counted where they are made and ended, in the ledger's own scripts (infra.jobs.scripts).

Keys in Redis:
    shitu:key:{id}:used   hash   what is left of each quota, and since when; lapses when all is back
    shitu:key:{id}:open   zset   the key's open jobs: the ledger's
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.errors.keys import BytesLimited, RateLimited

if TYPE_CHECKING:
    import redis

    from infra.keys.store import Limits
    from infra.runtime.settings import KeySettings

MINUTE_S = 60
DAY_S = 86_400

# ARGV: requests a minute, bytes a day (0: no limit), requests and bytes to take; the clock, in tests; `charge`: what has
# come already is taken even if it is not left.
# A negative level is a debt: bytes that were counted only when they had come.
TAKE = """
local used, opened = KEYS[1], KEYS[2]
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function level(name, most, window)
  local known = redis.call('HMGET', used, name, name .. '_at')
  if not known[1] then return most end
  return math.min(most, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * most / window)
end
local quotas = {{'requests', tonumber(ARGV[1]), 60, tonumber(ARGV[3])}, {'bytes', tonumber(ARGV[2]), 86400, tonumber(ARGV[4])}}
local refused, wait, asks = '', 0, ARGV[6] ~= 'charge'
for _, quota in ipairs(quotas) do
  local name, most, window, cost = unpack(quota)
  if most > 0 then
    quota[5] = level(name, most, window)
    if refused == '' and asks and cost > 0 and quota[5] < cost then
      refused = name
      wait = (cost - quota[5]) * window / most
    end
  end
end
local answer = {refused, tostring(wait)}
for _, quota in ipairs(quotas) do
  local name, most, window, cost, left = unpack(quota)
  if most > 0 then
    if refused == '' then
      left = left - cost
      redis.call('HSET', used, name, tostring(left), name .. '_at', string.format('%.6f', now))
      redis.call('EXPIRE', used, 90000)
    end
    answer[#answer + 1] = tostring(left)
    answer[#answer + 1] = tostring((most - left) * window / most)
  else
    answer[#answer + 1] = ''
    answer[#answer + 1] = ''
  end
end
answer[#answer + 1] = redis.call('ZCARD', opened)
return answer
"""


@dataclass(frozen=True)
class Quota:
    """One of a key's limits: `most` in `window_s` seconds (None: at a time), of which `left`; all of it in `reset_s`."""

    name: str
    most: int
    window_s: int | None
    left: int
    reset_s: int | None
    unit: str

    def policy(self) -> str:
        """As a member of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
        window = "" if self.window_s is None else f";w={self.window_s}"
        unit = "" if self.unit == "requests" else f';qu="{self.unit}"'
        return f'"{self.name}";q={self.most}{window}{unit}'

    def state(self) -> str:
        """As a member of RateLimit."""
        reset = "" if self.reset_s is None else f";t={self.reset_s}"
        return f'"{self.name}";r={self.left}{reset}'


@dataclass(frozen=True)
class Allowance:
    """What a key may use in all; 0: no limit."""

    requests_per_minute: int
    open_jobs: int
    bytes_per_day: int

    def __bool__(self) -> bool:
        return any((self.requests_per_minute, self.open_jobs, self.bytes_per_day))


def allowance(own: Limits, settings: KeySettings) -> Allowance:
    """A key's own limits, and the settings' where it has none."""

    def chosen(mine: int | None, usual: int) -> int:
        return usual if mine is None else mine

    return Allowance(
        chosen(own.requests_per_minute, settings.requests_per_minute),
        chosen(own.open_jobs, settings.open_jobs),
        chosen(own.bytes_per_day, settings.bytes_per_day),
    )


class KeyLimits:
    """Counts what keys use. `client` must decode replies. Methods may raise redis.RedisError."""

    def __init__(self, client: redis.Redis) -> None:
        self._take = client.register_script(TAKE)

    def take(
        self, key_id: str, allowed: Allowance, body_bytes: int, now: float | None = None
    ) -> tuple[list[Quota], RateLimited | BytesLimited | None]:
        """Takes one request and `body_bytes` bytes: what is left, and why it is refused, if it is; nothing is taken then."""
        return self._run(key_id, allowed, 1, body_bytes, now, "take")

    def take_bytes(self, key_id: str, allowed: Allowance, count: int) -> RateLimited | BytesLimited | None:
        """Takes bytes that will come apart from a request; why it is refused, if it is."""
        return self._run(key_id, allowed, 0, count, None, "take")[1]

    def charge(self, key_id: str, allowed: Allowance, body_bytes: int, now: float | None = None) -> None:
        """Takes bytes that have come already, whether they are left or not."""
        self._run(key_id, allowed, 0, body_bytes, now, "charge")

    def _run(
        self, key_id: str, allowed: Allowance, requests: int, body_bytes: int, now: float | None, how: str
    ) -> tuple[list[Quota], RateLimited | BytesLimited | None]:
        keys = [f"shitu:key:{key_id}:used", f"shitu:key:{key_id}:open"]
        clock = "" if now is None else repr(now)
        args: list[str | int] = [allowed.requests_per_minute, allowed.bytes_per_day, requests, body_bytes, clock, how]
        refused, wait, requests_left, requests_reset, bytes_left, bytes_reset, opened = self._take(keys=keys, args=args)
        quotas = []
        if allowed.requests_per_minute:
            quotas.append(
                _bucket("requests", allowed.requests_per_minute, MINUTE_S, requests_left, requests_reset, "requests")
            )
        if allowed.bytes_per_day:
            quotas.append(_bucket("bytes", allowed.bytes_per_day, DAY_S, bytes_left, bytes_reset, "content-bytes"))
        if allowed.open_jobs:
            left = max(0, allowed.open_jobs - int(opened))
            quotas.append(Quota("open-jobs", allowed.open_jobs, None, left, None, "concurrent-requests"))
        return quotas, _refusal(str(refused), float(wait), allowed, body_bytes)


def _bucket(name: str, most: int, window_s: int, left: str, reset: str, unit: str) -> Quota:
    return Quota(name, most, window_s, max(0, math.floor(float(left))), math.ceil(float(reset)), unit)


def _refusal(refused: str, wait_s: float, allowed: Allowance, body_bytes: int) -> RateLimited | BytesLimited | None:
    if refused == "requests":
        most = allowed.requests_per_minute
        return RateLimited(
            f"This key may make {most} requests a minute; the next one in {max(1, math.ceil(wait_s))} s.",
            retry_after_s=max(1.0, wait_s),
        )
    if refused == "bytes":
        most = allowed.bytes_per_day
        if body_bytes > most:
            never = BytesLimited(f"This body has {body_bytes} bytes, and this key may send {most} a day.")
            never.retryable = False
            return never
        return BytesLimited(
            f"This key may send {most} bytes a day; there is room for this body in {max(1, math.ceil(wait_s))} s.",
            retry_after_s=max(1.0, wait_s),
        )
    return None

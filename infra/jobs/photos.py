"""Keeps the photos of jobs as long as a job names them, and removes them afterwards.

A photo lies below `photos/` under the hash of its content, so that jobs with the same bytes share one; what galleries
keep lies below `images/` and is never touched here. Who names a photo is written in Redis in the very transactions that
make and retire the job (infra.jobs.scripts). Whoever dies in between leaves a photo too many, never one too few:

- An upload first holds its key, then writes the object, then creates the job. Until the hold lapses nobody removes it.
- A removal first marks the key, then deletes the object, then notes that it is gone. From the mark on the key is given
  to no upload and no job: one that comes meanwhile gets the next key (`….1`), so that a deletion which reaches the
  store late, from a keeper that hung or by a request that was repeated, finds nothing that anybody needs.

    shitu:photo:{key}      set   the jobs that name the photo
    shitu:photos:idle      zset  photos by when to see whether a job names them: held by uploads, or let go by jobs
    shitu:photos:leaving   zset  marked, perhaps not yet deleted, by when to try (again)
    shitu:photos:left      zset  deleted, by until when the key stays unused
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from infra.jobs import stumbles
from infra.jobs.scripts import (
    CLOCK,
    PHOTOS_IDLE,
    PHOTOS_LEAVING,
    PHOTOS_LEFT,
    PHOTOS_PREFIX,
    photo_key,
)
from infra.objects.store import image_digest, preview_key
from infra.redis.client import server_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from infra.objects.store import ObjectStore

UPLOAD_GRACE_S = 3600.0  # the longest that an upload may take from the hold on its photo to its job
STUMBLES = 10  # over one photo that cannot be deleted
LONGEST_STUMBLE_S = 3600.0
UNUSED_S = 86_400.0  # how long the key of a deleted photo is not used again

log = logging.getLogger(__name__)

_KEYS = """
local idle, leaving, left = unpack(KEYS)
local function going(key) return redis.call('ZSCORE', leaving, key) or redis.call('ZSCORE', left, key) end
"""

# ARGV: now, key, grace_s. The first key of the photo that is not on its way out.
_HOLD = (
    CLOCK
    + _KEYS
    + """
local key, number = ARGV[2], 0
while going(key) do
  number = number + 1
  key = ARGV[2] .. '.' .. number
end
redis.call('ZADD', idle, 'GT', seconds(now + tonumber(ARGV[3])), key)
return key
"""
)

# ARGV: now, limit. Those that nobody names any more, marked; the others come back when a job lets go of them.
_MARK = (
    CLOCK
    + _KEYS
    + """
local marked = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', idle, '-inf', seconds(now), 'LIMIT', 0, tonumber(ARGV[2]))) do
  redis.call('ZREM', idle, key)
  if redis.call('EXISTS', 'shitu:photo:' .. key) == 0 then
    redis.call('ZADD', leaving, seconds(now), key)
    marked[#marked + 1] = key
  end
end
redis.call('ZREMRANGEBYSCORE', left, '-inf', seconds(now))
return marked
"""
)

# ARGV: now, key. One of them, likewise.
_MARK_ONE = (
    CLOCK
    + _KEYS
    + """
local key = ARGV[2]
if redis.call('ZSCORE', left, key) then return 'gone' end
if redis.call('EXISTS', 'shitu:photo:' .. key) == 1 then return 'named' end
local at = tonumber(redis.call('ZSCORE', idle, key) or '')
if at and at > now then return 'held' end
redis.call('ZREM', idle, key)
redis.call('ZADD', leaving, seconds(now), key)
return 'marked'
"""
)

# ARGV: now, key, unused_s.
_GONE = (
    CLOCK
    + _KEYS
    + """
redis.call('ZREM', leaving, ARGV[2])
redis.call('ZADD', left, seconds(now + tonumber(ARGV[3])), ARGV[2])
"""
)

# ARGV: now, grace_s, keys. Objects of which nothing is known: Redis lost its data, or an upload came far too late.
_ADOPT = (
    CLOCK
    + _KEYS
    + """
for number = 3, #ARGV do
  local key = ARGV[number]
  if redis.call('ZREM', left, key) == 1 then redis.call('ZADD', leaving, seconds(now), key)
  elseif redis.call('EXISTS', 'shitu:photo:' .. key) == 0 and not going(key) then
    redis.call('ZADD', idle, 'NX', seconds(now + tonumber(ARGV[2])), key)
  end
end
"""
)


class Photos:
    """The photos of one object store and one Redis; may be used by many threads and processes.

    Every method raises redis.RedisError, and StorageUnavailable when the store fails. `now` as in JobLedger.
    """

    def __init__(
        self,
        client: redis.Redis,
        objects: ObjectStore,
        now: Callable[[], float] | None = None,
        grace_s: float = UPLOAD_GRACE_S,
    ) -> None:
        self._redis = client
        self._objects = objects
        self._now = now
        self._grace_s = grace_s
        self._hold, self._mark = client.register_script(_HOLD), client.register_script(_MARK)
        self._mark_one = client.register_script(_MARK_ONE)
        self._gone, self._adopt = client.register_script(_GONE), client.register_script(_ADOPT)

    def keep(self, image_bytes: bytes) -> str:
        """Stores an uploaded photo, once, and gives its key, for a job to be created within `grace_s` seconds."""
        key = str(
            self._hold(keys=self._keys(), args=[self._clock(), photo_key(image_digest(image_bytes)), self._grace_s])
        )
        if not self._objects.exists(key):
            self._objects.put(key, image_bytes)
        return key

    def remove_due(self, limit: int = 100) -> int:
        """Deletes photos that no job names any more, and those that a keeper marked and did not finish.

        Returns how many; at most about `limit`, so that there is more to do if there are as many.
        """
        unfinished = self._redis.zrangebyscore(PHOTOS_LEAVING, "-inf", self._time(), start=0, num=limit)
        marked = self._mark(keys=self._keys(), args=[self._clock(), limit])
        removed, failure = 0, None
        for key in dict.fromkeys(str(key) for key in (*unfinished, *marked)):
            try:
                self._delete(key)
            except Exception as error:  # one photo that cannot be deleted must not keep all others
                failure = error
                if not self._stumbled(key, error):
                    continue
            self._note_gone(key)
            removed += 1
        if failure is not None and not removed:
            raise failure  # the store's trouble, rather than a photo's
        return removed

    def erase(self, key: str) -> str:
        """Deletes one photo that no job names: `gone`. `named`: another job shows the same; `held`: it was uploaded just now."""
        state = str(self._mark_one(keys=self._keys(), args=[self._clock(), key]))
        if state != "marked":
            return state
        self._delete(key)
        self._note_gone(key)
        return "gone"

    def _delete(self, key: str) -> None:
        self._objects.delete(preview_key(key))
        self._objects.delete(key)

    def _note_gone(self, key: str) -> None:
        self._gone(keys=self._keys(), args=[self._clock(), key, UNUSED_S])

    def _stumbled(self, key: str, error: Exception) -> bool:
        """Tries the deletion again at growing intervals. True after the last: the daily search finds what is left."""
        times = stumbles.stumbled(self._redis, key)
        if times >= STUMBLES:
            log.error("a photo cannot be deleted; left to the daily search", extra={"key": key}, exc_info=error)
            stumbles.given_up(self._redis, key)
            return True
        delay_s = min(LONGEST_STUMBLE_S, stumbles.pause_s(times)) if times > 1 else 0.0
        self._redis.zadd(PHOTOS_LEAVING, {key: self._time() + delay_s}, xx=True)
        return False

    def _time(self) -> float:
        if self._now is not None:
            return self._now()
        return server_time(self._redis)

    def stored(self) -> Iterator[str]:
        """The keys of all photos in the store, read bit by bit."""
        return self._objects.list(PHOTOS_PREFIX)

    def check_stored(self, stored: Iterator[str], limit: int = 500) -> bool:
        """Takes the next `limit` of `stored` into care, if nothing is known of them; False when there are no more."""
        keys = list(itertools.islice(stored, limit))
        if keys:
            self._adopt(keys=self._keys(), args=[self._clock(), self._grace_s, *keys])
        return bool(keys)

    def _clock(self) -> str:
        return "" if self._now is None else repr(self._now())

    @staticmethod
    def _keys() -> list[str]:
        return [PHOTOS_IDLE, PHOTOS_LEAVING, PHOTOS_LEFT]

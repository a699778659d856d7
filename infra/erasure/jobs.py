"""A job removed at once, with its answer, its events, the bodies of its webhooks, and its photo."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from infra.errors.jobs import JobExpired, JobFinished, JobNotFound
from infra.errors.webhooks import DeliveryFinished, DeliveryNotFound
from infra.jobs.change_scripts import INDEX
from infra.jobs.photos import UNUSED_S
from infra.jobs.scripts import CLOCK, PHOTOS_IDLE, PHOTOS_LEAVING, PHOTOS_LEFT, events_key, job_key
from infra.objects.store import preview_key

if TYPE_CHECKING:
    import redis

    from infra.jobs.ledger import JobLedger
    from infra.objects.store import ObjectStore

# As the job's retirement (infra.jobs.scripts), without a look at what is still to be delivered. KEYS: job, its stream.
# ARGV: now, id, tombstone_s. Returns how many messages and events went; -1: it is still open.
_ERASE = (
    CLOCK
    + INDEX
    + """
local job, stream, id = KEYS[1], KEYS[2], ARGV[2]
local status = redis.call('HGET', job, 'status')
if not status then return 0 end
if status == 'queued' or status == 'processing' then return -1 end
local gone = 0
local messages = redis.call('HGET', job, 'delivery_id') or ''
for event in string.gmatch(redis.call('HGET', job, 'event_ids') or '', '%S+') do
  messages = messages .. ' ' .. (redis.call('HGET', 'shitu:event:' .. event, 'deliveries') or '')
  gone = gone + redis.call('DEL', 'shitu:event:' .. event)
end
for message in string.gmatch(messages, '%S+') do
  local key = 'shitu:delivery:' .. message
  local endpoint = redis.call('HGET', key, 'endpoint')
  if endpoint then redis.call('ZREM', 'shitu:webhook:' .. endpoint .. ':deliveries', message) end
  redis.call('ZREM', 'shitu:deliveries:due', message)
  gone = gone + redis.call('DEL', key)
  redis.call('DEL', key .. ':log')
end
local photo = redis.call('HGET', job, 'photo')
if photo then
  redis.call('SREM', 'shitu:photo:' .. photo, id)
  redis.call('ZADD', 'shitu:photos:idle', 'GT', seconds(now), photo)
end
list(job, id, nil)
redis.call('SET', 'shitu:tombstone:' .. id, redis.call('HGET', job, 'kind') or '', 'PX', math.floor(tonumber(ARGV[3]) * 1000))
redis.call('DEL', job, stream)
redis.call('ZREM', 'shitu:jobs:finished', id)
return gone
"""
)

# KEYS: idle, leaving, left. ARGV: now, key. As the removal of photos that no job names any more (infra.jobs.photos).
_MARK_ONE = (
    CLOCK
    + """
local idle, leaving, left, key = KEYS[1], KEYS[2], KEYS[3], ARGV[2]
if redis.call('ZSCORE', left, key) then return 'gone' end
if redis.call('EXISTS', 'shitu:photo:' .. key) == 1 then return 'named' end
local at = tonumber(redis.call('ZSCORE', idle, key) or '')
if at and at > now then return 'held' end
redis.call('ZREM', idle, key)
redis.call('ZADD', leaving, seconds(now), key)
return 'marked'
"""
)

_GONE = (
    CLOCK
    + """
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], seconds(now + tonumber(ARGV[3])), ARGV[2])
"""
)


def erase_job(client: redis.Redis, ledger: JobLedger, job_id: str, tombstone_s: float) -> int | None:
    """Removes all that Redis has of the job. How many messages and events went; None: it is running, ask again.

    An open job is canceled first. One that is not there any more is done. Raises redis.RedisError.
    """
    with suppress(JobNotFound, JobExpired, JobFinished):
        if not ledger.get(job_id).finished and not ledger.cancel(job_id).finished:
            return None
    for event in str(client.hget(job_key(job_id), "event_ids") or "").split():
        for message in ledger.feed.deliveries_of(event):
            with suppress(DeliveryFinished, DeliveryNotFound):
                ledger.deliveries.stop(message)
    gone = int(
        client.register_script(_ERASE)(keys=[job_key(job_id), events_key(job_id)], args=["", job_id, tombstone_s])
    )
    return None if gone < 0 else gone


def erase_photo(client: redis.Redis, objects: ObjectStore, key: str) -> str:
    """Deletes a photo that no job names: `gone`. `named`: another job shows the same; `held`: it was uploaded just now."""
    keys = [PHOTOS_IDLE, PHOTOS_LEAVING, PHOTOS_LEFT]
    state = str(client.register_script(_MARK_ONE)(keys=keys, args=["", key]))
    if state != "marked":
        return state
    objects.delete(preview_key(key))
    objects.delete(key)
    client.register_script(_GONE)(keys=keys, args=["", key, UNUSED_S])
    return "gone"

"""What the keeper does to jobs that nobody else looks after (infra.jobs.sweeper). As in infra.jobs.scripts."""

from __future__ import annotations

from infra.jobs.change_scripts import INDEX, NOTIFY_BATCH, REMOVE
from infra.jobs.scripts import CLOCK, JOB

# A job whose Cancel-After has passed; a running one is stopped at its worker's next look.
CANCEL_LATE = (
    JOB
    + """
if not status or not late() then return '' end
redis.call('ZREM', 'shitu:jobs:cancel_at', id)
if get('cancel_requested') then return '' end
if status == 'queued' then finish('canceled', 'error', LATE); return 'canceled' end
if status == 'processing' then request_cancel(LATE) end
return ''
"""
)

# A job that waits long is published again at growing intervals: under load it waits rightly, and copies must not pile up.
SWEEP = (
    JOB
    + """
local queued_deadline_s, max_attempts, poison = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local deadline = tonumber(redis.call('ZSCORE', open, id))
if not deadline or deadline > now then return '' end
if not status then redis.call('ZREM', open, id); redis.call('ZREM', queued, id); return '' end
if get('cancel_requested') then finish('canceled'); return 'canceled' end
if tonumber(get('attempts')) >= max_attempts then finish('failed', 'error', poison); return 'poisoned' end
local times = redis.call('HINCRBY', job, 'republished', 1)
if status == 'processing' then enqueue(queued_deadline_s)
else
  redis.call('ZADD', open, seconds(now + queued_deadline_s * (times + 1)), id)
  -- Who took it out of its lane may have died before it was started.
  wait_from(redis.call('ZSCORE', lane(), id) or redis.call('ZSCORE', queued, id) or seconds(now))
end
return get('source_url') and 'to_fetch' or 'republished'
"""
)

# What made the scripts above stumble (a record that something else wrote): out of their way, its end written as well as it
# can be. ARGV[6]: the error.
ABANDON = (
    CLOCK
    + INDEX
    + NOTIFY_BATCH
    + """
local job, open, queued, finished = unpack(KEYS)
local id, expires_at = ARGV[2], seconds(now + tonumber(ARGV[3]))
redis.call('ZREM', open, id)
redis.call('ZREM', queued, id)
if redis.call('ZREM', finished, id) == 0 and redis.call('TYPE', job).ok == 'hash' then
  redis.call('HSET', job, 'status', 'failed', 'error', ARGV[6], 'completed_at', seconds(now), 'expires_at', expires_at)
  redis.call('ZADD', finished, expires_at, id)
  list(job, id, 'failed')
  local batch = redis.call('HGET', job, 'batch')
  if batch then notify_batch(batch, id, 'failed', now, tonumber(ARGV[3])) end
else
  redis.call('DEL', job)
end
"""
)

# A job stays while a message about it is still being delivered (the receiver will follow its links), and for a while after
# one could not be: so it can be sent again.
RETIRE = (
    JOB
    + REMOVE
    + """
local tombstone_s, failed_s = tonumber(ARGV[6]), tonumber(ARGV[7])
local expires_at = tonumber(redis.call('ZSCORE', finished, id))
if not expires_at or expires_at > now then return 0 end
for message in messages_of(job) do
  local key = 'shitu:delivery:' .. message
  local state = redis.call('HGET', key, 'status')
  local ended_at = tonumber(redis.call('HGET', key, 'ended_at') or '')
  local undelivered = (state == 'failed' or state == 'disabled') and ended_at and ended_at + failed_s > now
  if state == 'pending' or undelivered then
    local later = seconds(now + 3600)
    redis.call('ZADD', finished, later, id)
    redis.call('HSET', job, 'expires_at', later)
    return 0
  end
end
remove(job, events, id, now, tombstone_s)
return 1
"""
)

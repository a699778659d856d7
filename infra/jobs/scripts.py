"""The ledger's transitions as Lua, each one atomic: Redis runs a script as a whole or not at all.

Here is what all of them share, and what users ask of a job; what a worker does under its lease is in
infra.jobs.lease_scripts, what the keeper does in infra.jobs.keeper_scripts.

Redis 6.2 commands only. One server, no cluster: a delivery's key is built inside. Every script may be repeated after a
lost reply without harm, except that a repeated `START` or `TAKE` finds the lease taken, which lapses and is swept.

Keys in Redis:
    shitu:job:{id}             hash    the record
    shitu:jobs:open            zset    queued and processing jobs by deadline: what the sweeper and autoscaling read
    shitu:jobs:queued          zset    queued jobs by the time they began to wait
    shitu:jobs:finished        zset    finished jobs by the time their retention ends
    shitu:jobs:totals          hash    kind:status -> how many ever finished so
    shitu:events:{id}          stream  the job's history, the last 64 events
    shitu:tombstone:{id}       string  the job existed; expires by itself
    shitu:event:{id}           hash    an event (the end of a job, or a test): infra.jobs.feed
    shitu:feed                 stream  the events' ids in their order;  :epoch, :floor  which stream, and what it lacks
    shitu:webhooks             set     the endpoints' ids;  shitu:webhook:{id}  hash, one of them: infra.jobs.endpoints
    shitu:webhook:{id}:deliveries  zset  its messages by time
    shitu:delivery:{id}        hash    a webhook message;  shitu:delivery:{id}:log  list, its attempts
    shitu:receiver:{name}:*, shitu:receivers:*  which receivers are quick, and what waits: infra.jobs.delivery_scripts
    shitu:deliveries:due       zset    pending deliveries by when to look at them next
    shitu:jobs:cancel_at       zset    open jobs with a Cancel-After by when it passes
    shitu:jobs:lane:…          zsets   queued jobs by kind (or `fetch`) and priority: infra.jobs.lanes
    shitu:jobs:erasures        string  how many erasures got as far as deleting: whoever keeps answers forgets them then
    shitu:jobs:service         hash    how long jobs take: infra.jobs.forecast
    shitu:jobs:batch:…         hashes  batches, and the statuses of their jobs: infra.jobs.batches
    shitu:jobs:list:…          zsets   which jobs there are, by kind and facet: infra.jobs.listing
    shitu:jobs:idempotent:…    hashes  what requests with an Idempotency-Key made: infra.jobs.idempotency
    shitu:stumbled:{id}        string  how often the keeper stumbled over an entry; expires by itself
    shitu:workers, :consumed   hash    who is ready, and when a queue last moved
    shitu:photo:{key} and shitu:photos:*       which jobs name a stored photo: infra.jobs.photos
"""

from __future__ import annotations

from infra.jobs.change_scripts import INDEX, NOTIFY_BATCH
from infra.jobs.event_scripts import NOTIFY

OPEN = "shitu:jobs:open"
QUEUED = "shitu:jobs:queued"
FINISHED = "shitu:jobs:finished"
TOTALS = "shitu:jobs:totals"
DUE = "shitu:deliveries:due"
CANCEL_AT = "shitu:jobs:cancel_at"
ERASURES = "shitu:jobs:erasures"
WORKERS = "shitu:workers"
CONSUMED = "shitu:consumed"
PHOTOS_IDLE = "shitu:photos:idle"
PHOTOS_LEAVING = "shitu:photos:leaving"
PHOTOS_LEFT = "shitu:photos:left"
ERASED = "erased"  # the tombstone of a job that was erased
PHOTOS_PREFIX = "photos/"  # in the object store


def job_key(job_id: str) -> str:
    """The key of a job's record."""
    return f"shitu:job:{job_id}"


def events_key(job_id: str) -> str:
    """The key of a job's stream of events."""
    return f"shitu:events:{job_id}"


def tombstone_key(job_id: str) -> str:
    """The key that says that the job existed."""
    return f"shitu:tombstone:{job_id}"


def delivery_key(delivery_id: str) -> str:
    """The key of a delivery's record."""
    return f"shitu:delivery:{delivery_id}"


def stumbled_key(entry_id: str) -> str:
    """The key that counts how often the keeper stumbled over a job, a delivery or a photo."""
    return f"shitu:stumbled:{entry_id}"


def photo_key(digest: str) -> str:
    """The object's key of a photo with this SHA-256."""
    return f"{PHOTOS_PREFIX}{digest[:2]}/{digest}"


# The ledger's clock is an argument in tests and the Redis server's own otherwise: one clock for all machines.
CLOCK = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function seconds(value) return string.format('%.6f', value) end
"""

# KEYS and the first five ARGV are the same for every job script.
JOB = (
    CLOCK
    + INDEX
    + NOTIFY_BATCH
    + """
local job, open, queued, finished, totals, events, due = unpack(KEYS)
local id, retention_s, delivery_id, first_delay_s = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local function get(field) return redis.call('HGET', job, field) end
local status = get('status')

local function note(status, progress)
  local entry = {'status', status, 'attempts', get('attempts'), 'at', seconds(now)}
  if progress then entry[7] = 'progress'; entry[8] = progress else list(job, id, status) end
  local batch = get('batch')
  if batch and not progress then notify_batch(batch, id, status, now, retention_s) end
  redis.call('XADD', events, 'MAXLEN', 64, '*', unpack(entry))
end

-- The open jobs of the request's key: infra.keys.limits. Those that ended in no script's sight are dropped when it is full.
local function owned() return 'shitu:key:' .. (get('owner') or '') .. ':open' end
local function is_full(mine, most)
  if redis.call('ZCARD', mine) < most then return false end
  for _, one in ipairs(redis.call('ZRANGE', mine, 0, 49)) do
    if not redis.call('ZSCORE', open, one) then redis.call('ZREM', mine, one) end
  end
  return redis.call('ZCARD', mine) >= most
end

-- Cancel-After: whether the job's time is over, and the error that says so.
local LATE = '{"code": "cancel_after_passed", "message": "The job was canceled: its Cancel-After passed before it ended.", "retryable": true}'
local function late()
  local at = tonumber(get('cancel_at') or '')
  return at and at <= now
end
local function limit_time()
  local after = tonumber(get('cancel_after_s') or '')
  if not after then return end
  redis.call('HSET', job, 'cancel_at', seconds(now + after))
  redis.call('ZADD', 'shitu:jobs:cancel_at', seconds(now + after), id)
end
local function request_cancel(error)
  redis.call('HSET', job, 'cancel_requested', 1)
  if error then redis.call('HSET', job, 'error', error) end
end

-- Where it waits for its turn: in its lane, and there among the jobs of its owner, who takes turns with the other owners.
local function lane()
  local kind = get('source_url') and 'fetch' or get('kind') or ''
  return 'shitu:jobs:lane:' .. kind .. ':' .. (get('priority') or 'normal')
end
local function wait_from(at)
  local lane, owner = lane(), get('owner') or ''
  redis.call('ZADD', lane, at, id)
  redis.call('ZADD', lane .. ':of:' .. owner, at, id)
  if not redis.call('ZSCORE', lane .. ':owners', owner) then
    redis.call('ZADD', lane .. ':owners', redis.call('HINCRBY', 'shitu:jobs:turns', 'owners', 1), owner)
  end
end
local function leave_lane()
  local lane, owner = lane(), get('owner') or ''
  redis.call('ZREM', lane, id)
  redis.call('ZREM', lane .. ':of:' .. owner, id)
  if redis.call('ZCARD', lane .. ':of:' .. owner) == 0 then redis.call('ZREM', lane .. ':owners', owner) end
end

-- The sweeper publishes it after `delay_s`; it may run after `pause_s`.
local function enqueue(delay_s, pause_s)
  if get('owner') then redis.call('ZADD', owned(), seconds(now), id) end
  redis.call('HSET', job, 'status', 'queued')
  redis.call('HDEL', job, 'lease_until', 'progress')
  redis.call('ZADD', open, seconds(now + delay_s), id)
  redis.call('ZADD', queued, seconds(now), id)
  wait_from(seconds(now + (pause_s or 0)))
  note('queued')
end
"""
    + NOTIFY
    + """
-- The end of a job and the messages that report it are written together, so that neither is without the other.
local function finish(status, field, value)
  local expires_at = seconds(now + retention_s)
  redis.call('HSET', job, 'status', status, 'completed_at', seconds(now), 'expires_at', expires_at)
  if field then redis.call('HSET', job, field, value) end
  redis.call('HDEL', job, 'lease_until', 'progress')
  redis.call('ZREM', open, id)
  redis.call('ZREM', queued, id)
  if get('owner') then redis.call('ZREM', owned(), id) end
  redis.call('ZREM', 'shitu:jobs:cancel_at', id)
  leave_lane()
  redis.call('ZADD', finished, expires_at, id)
  redis.call('HINCRBY', totals, get('kind') .. ':' .. status, 1)
  local url = get('webhook_url')
  if url then
    redis.call('HSET', job, 'delivery_id', delivery_id, 'webhook_status', 'pending', 'webhook_attempts', 0)
    redis.call('HDEL', job, 'webhook_last_status')
  end
  notify(status)
  note(status)
end
"""
)

# A photo on its way out is not to be had any more: infra.jobs.photos.
CREATE = (
    JOB
    + """
if not status then
  local terms = {}
  for place = 12, #ARGV, 2 do terms[ARGV[place]] = ARGV[place + 1] end  -- infra.jobs.terms
  if terms.owner and terms.most_open and is_full('shitu:key:' .. terms.owner .. ':open', tonumber(terms.most_open)) then
    return {'full'}
  end
  if terms.batch and redis.call('EXISTS', 'shitu:jobs:batch:' .. terms.batch) == 0 then return {'full'} end
  local photo = ARGV[10]
  if photo ~= '' then
    if redis.call('ZSCORE', 'shitu:photos:leaving', photo) or redis.call('ZSCORE', 'shitu:photos:left', photo) then return {} end
    redis.call('SADD', 'shitu:photo:' .. photo, id)
    redis.call('HSET', job, 'photo', photo)
  end
  redis.call('HSET', job, 'id', id, 'kind', ARGV[6], 'request', ARGV[7], 'created_at', seconds(now),
    'attempts', 0, 'token', 0)
  if ARGV[8] ~= '' then redis.call('HSET', job, 'webhook_url', ARGV[8]) end
  if ARGV[11] ~= '' then redis.call('HSET', job, 'source_url', ARGV[11]) end
  for name, value in pairs(terms) do redis.call('HSET', job, name, value) end
  limit_time()
  enqueue(tonumber(ARGV[9]))
end
return redis.call('HGETALL', job)
"""
)

CANCEL = (
    JOB
    + """
if status == 'queued' then
  redis.call('HSET', job, 'cancel_requested', 1)
  finish('canceled')
elseif status == 'processing' then
  redis.call('HSET', job, 'cancel_requested', 1)
end
return status
"""
)

# A replayed job starts afresh: its history, its attempts and the message about its failure are void.
REPLAY = (
    JOB
    + """
if status ~= 'failed' then return status end
if get('owner') and get('most_open') and is_full(owned(), tonumber(get('most_open'))) then return 'full' end
local old = get('delivery_id')
if old then
  redis.call('ZREM', due, old)
  redis.call('DEL', 'shitu:delivery:' .. old, 'shitu:delivery:' .. old .. ':log')
end
redis.call('HSET', job, 'attempts', 0)
redis.call('HDEL', job, 'error', 'result', 'started_at', 'completed_at', 'expires_at', 'delivery_id',
  'webhook_status', 'webhook_attempts', 'webhook_last_status', 'republished', 'eta_s')
redis.call('ZREM', finished, id)
redis.call('DEL', events)
limit_time()
enqueue(tonumber(ARGV[6]))
return status
"""
)

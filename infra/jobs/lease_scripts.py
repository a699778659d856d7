"""What a worker does to its job: takes the lease, holds it, and ends the job or gives it back. As in infra.jobs.scripts."""

from __future__ import annotations

from infra.jobs.scripts import JOB

# A lease is given to one at a time; its token grows, so that what an older one writes later is refused. A job whose photo
# is still to be fetched is only for who fetches, and no other job is.
START = (
    JOB
    + """
local lease_s, max_attempts, poison = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local lapsed = status == 'processing' and tonumber(get('lease_until')) <= now
if status ~= 'queued' and not lapsed then return false end
if (get('source_url') and '1' or '0') ~= ARGV[9] then return false end
if get('cancel_requested') then finish('canceled'); return false end
if late() then finish('canceled', 'error', LATE); return false end
if tonumber(get('attempts')) >= max_attempts then finish('failed', 'error', poison); return false end
local attempt = redis.call('HINCRBY', job, 'attempts', 1)
local token = redis.call('HINCRBY', job, 'token', 1)
local lease_until = seconds(now + lease_s)
redis.call('HSET', job, 'status', 'processing', 'started_at', seconds(now), 'lease_until', lease_until)
redis.call('HDEL', job, 'republished')
redis.call('ZADD', open, lease_until, id)
redis.call('ZREM', queued, id)
leave_lane()
note('processing')
return {token, attempt, lease_until, tonumber(redis.call('GET', 'shitu:jobs:erasures') or 0), redis.call('HGETALL', job)}
"""
)

_HOLDS = """
local function holds(token) return status == 'processing' and get('token') == token end
"""

RENEW = (
    JOB
    + _HOLDS
    + """
if not holds(ARGV[6]) then return 'lost' end
local lease_until = seconds(now + tonumber(ARGV[7]))
redis.call('HSET', job, 'lease_until', lease_until)
redis.call('ZADD', open, lease_until, id)
if ARGV[8] ~= '' and ARGV[8] ~= get('progress') then
  redis.call('HSET', job, 'progress', ARGV[8])
  note('processing', ARGV[8])
end
if late() and not get('cancel_requested') then request_cancel(LATE) end
return get('cancel_requested') and 'cancel_requested' or 'held'
"""
)

# Whoever requested the cancellation got it confirmed: a result that comes after that is dropped.
FINISH = (
    JOB
    + _HOLDS
    + """
-- How long it took, smoothed: by the average at first, later by the last twenty or so.
local function measure()
  local kind, started = get('kind'), tonumber(get('started_at') or '')
  if not kind or not started then return end
  local took, units = math.max(0, now - started), math.max(1, tonumber(get('units') or '') or 1)
  local count = redis.call('HINCRBY', 'shitu:jobs:service', kind .. ':n', 1)
  for name, value in pairs({job = took, unit = took / units}) do
    local field = kind .. ':' .. name
    local old = tonumber(redis.call('HGET', 'shitu:jobs:service', field) or '') or value
    redis.call('HSET', 'shitu:jobs:service', field, seconds(old + (value - old) * math.max(0.1, 1 / count)))
  end
end

local token, wanted, field, value = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
if status == wanted and get('token') == token then return 1 end
if not holds(token) then return 0 end
if get('cancel_requested') and wanted ~= 'canceled' then finish('canceled'); return 0 end
local facets = ARGV[10]
if facets and facets ~= '' then redis.call('HSET', job, 'facets', (get('facets') or '') .. '\\n' .. facets) end
if wanted == 'succeeded' then measure() end
if field == '' then finish(wanted) else finish(wanted, field, value) end
return 1
"""
)

# The photo is there: its URL, which may hold secrets, is forgotten, and the job waits for a worker, with all its attempts.
# 'gone': the photo was removed since it was stored.
FETCHED = (
    JOB
    + _HOLDS
    + """
local token, request, photo, delay_s = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
if not holds(token) then return 'lost' end
if get('cancel_requested') then finish('canceled'); return 'canceled' end
if redis.call('ZSCORE', 'shitu:photos:leaving', photo) or redis.call('ZSCORE', 'shitu:photos:left', photo) then return 'gone' end
if photo ~= '' then  -- what an enrolment fetches is the gallery's
  redis.call('SADD', 'shitu:photo:' .. photo, id)
  redis.call('HSET', job, 'photo', photo)
end
redis.call('HSET', job, 'request', request, 'attempts', 0, 'fetched_at', seconds(now))
redis.call('HDEL', job, 'source_url', 'started_at')
enqueue(delay_s)
return 'fetched'
"""
)

# One of several pictures is there: the request names it at once, and the next attempt fetches the rest alone.
FETCHED_ONE = (
    JOB
    + _HOLDS
    + """
if not holds(ARGV[6]) then return 0 end
redis.call('HSET', job, 'request', ARGV[7], 'source_url', ARGV[8])
return 1
"""
)

RELEASE = (
    JOB
    + _HOLDS
    + """
local token, delay_s, counted, max_attempts, poison = ARGV[6], tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9]), ARGV[10]
if not holds(token) then return 0 end
if counted == '0' then redis.call('HINCRBY', job, 'attempts', -1) end
if get('cancel_requested') then finish('canceled')
elseif tonumber(get('attempts')) >= max_attempts then finish('failed', 'error', poison)
else enqueue(delay_s, delay_s) end
return 1
"""
)

# Reads only: the record, and the messages of its latest event.
ENDED = """
local last = string.match(redis.call('HGET', KEYS[1], 'event_ids') or '', '(%S+)%s*$')
return {redis.call('HGETALL', KEYS[1]), last and redis.call('HGET', 'shitu:event:' .. last, 'deliveries') or ''}
"""

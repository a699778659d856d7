"""The transitions of webhook messages as Lua, like those of jobs in `infra.jobs.scripts`, whose keys they share."""

from __future__ import annotations

from infra.jobs.scripts import CLOCK

# The due ids, each hidden for a while, so that several keepers do not hand out the same one.
CLAIM_DUE = (
    CLOCK
    + """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', seconds(now), 'LIMIT', 0, tonumber(ARGV[3]))
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], seconds(now + tonumber(ARGV[2])), id) end
return ids
"""
)

# ARGV: now, lease_s, id, max_attempts, what is said of a message whose last courier left without a word. A message that is
# over, or whose record is gone, is not due any more.
TAKE = (
    CLOCK
    + """
local key, due = KEYS[1], KEYS[2]
local function get(field) return redis.call('HGET', key, field) end
if get('status') ~= 'pending' then redis.call('ZREM', due, ARGV[3]); return {} end
if tonumber(get('next_at')) > now then return {} end
local until_ = tonumber(get('lease_until'))
if until_ and until_ > now then return {} end
if tonumber(get('attempts')) >= tonumber(ARGV[4]) then
  redis.call('HSET', key, 'status', 'failed', 'last_error', ARGV[5])
  redis.call('HDEL', key, 'lease_until')
  redis.call('ZREM', due, ARGV[3])
  local job = 'shitu:job:' .. get('job_id')
  if redis.call('HGET', job, 'delivery_id') == ARGV[3] then
    redis.call('HSET', job, 'webhook_status', 'failed', 'webhook_attempts', get('attempts'))
  end
  return {}
end
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HINCRBY', key, 'token', 1)
local lease_until = seconds(now + tonumber(ARGV[2]))
redis.call('HSET', key, 'lease_until', lease_until)
redis.call('ZADD', due, lease_until, get('id'))
return redis.call('HGETALL', key)
"""
)

# ARGV: now, token, the new status (pending: try again after delay_s), delay_s, HTTP status or '', error or ''.
RECORD = (
    CLOCK
    + """
local key, due, log = KEYS[1], KEYS[2], KEYS[3]
local token, status, delay_s, http_status, problem = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local function get(field) return redis.call('HGET', key, field) end
if get('status') ~= 'pending' or get('token') ~= token then return 0 end
local id, attempts = get('id'), get('attempts')
redis.call('HSET', key, 'status', status, 'last_status', http_status, 'last_error', problem)
redis.call('HDEL', key, 'lease_until')
redis.call('RPUSH', log, cjson.encode({at = seconds(now), attempt = attempts, status = http_status, error = problem}))
redis.call('LTRIM', log, -50, -1)
if status == 'pending' then
  local next_at = seconds(now + delay_s)
  redis.call('HSET', key, 'next_at', next_at)
  redis.call('ZADD', due, next_at, id)
else
  redis.call('ZREM', due, id)
end
local job = 'shitu:job:' .. get('job_id')
if redis.call('HGET', job, 'delivery_id') == id then
  redis.call('HSET', job, 'webhook_status', status, 'webhook_attempts', attempts, 'webhook_last_status', http_status)
end
return 1
"""
)

REPLAY_DELIVERY = (
    CLOCK
    + """
local key, due = KEYS[1], KEYS[2]
local id = redis.call('HGET', key, 'id')
if not id then return 0 end
redis.call('HSET', key, 'status', 'pending', 'attempts', 0, 'next_at', seconds(now))
redis.call('HINCRBY', key, 'token', 1)
redis.call('HDEL', key, 'lease_until')
redis.call('ZADD', due, seconds(now), id)
local job = 'shitu:job:' .. redis.call('HGET', key, 'job_id')
if redis.call('HGET', job, 'delivery_id') == id then redis.call('HSET', job, 'webhook_status', 'pending') end
return 1
"""
)

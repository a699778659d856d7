"""What a change of a job's status changes besides the job, as parts of the scripts in infra.jobs.scripts."""

from __future__ import annotations

# In which lists a job is (infra.jobs.listing); called at each change of its status.
INDEX = """
local STATUSES = {'queued', 'processing', 'succeeded', 'failed', 'canceled'}
local function list(job, id, status)
  local known = redis.call('HMGET', job, 'kind', 'created_at', 'facets')
  local created_at = tonumber(known[2] or '')
  if not known[1] or not created_at then return end
  local index = 'shitu:jobs:list:' .. known[1]
  local member = string.format('%017.6f', created_at) .. ':' .. id
  local change = status and function(key) redis.call('ZADD', key, 0, member) end
    or function(key) redis.call('ZREM', key, member) end
  change(index)
  for facet in string.gmatch(known[3] or '', '[^\\n]+') do change(index .. ':' .. facet) end
  for _, other in ipairs(STATUSES) do
    if other ~= status then redis.call('ZREM', index .. ':status:' .. other, member) end
  end
  if status then change(index .. ':status:' .. status) end
end
"""

# Writes a job's new status into its batch (infra.jobs.batches); the last job's end is the batch's.
NOTIFY_BATCH = """
local ENDED = {succeeded = true, failed = true, canceled = true}
local function notify_batch(batch, id, status, now, retention_s)
  local key, stream = 'shitu:jobs:batch:' .. batch, 'shitu:events:' .. batch
  if redis.call('EXISTS', key) == 0 then return end
  local before = redis.call('HGET', key, 'job:' .. id)
  redis.call('HSET', key, 'job:' .. id, status)
  redis.call('XADD', stream, 'MAXLEN', '~', 20000, '*', 'job', id, 'status', status, 'at', seconds(now))
  local was_open = before and not ENDED[before]
  if ENDED[status] and was_open then
    if redis.call('HINCRBY', key, 'open', -1) > 0 then return end
    redis.call('HSET', key, 'completed_at', seconds(now))
    redis.call('XADD', stream, '*', 'status', 'completed', 'at', seconds(now))
    for _, one in ipairs({key, stream}) do redis.call('PEXPIRE', one, math.floor(retention_s * 1000)) end
    redis.call('SET', 'shitu:tombstone:' .. batch, 'batch', 'PX', math.floor((retention_s + 604800) * 1000))
  elseif not ENDED[status] and not was_open then
    redis.call('HINCRBY', key, 'open', 1)
    redis.call('HDEL', key, 'completed_at')
    for _, one in ipairs({key, stream}) do redis.call('EXPIRE', one, 2592000) end
  end
end
"""

# The job with all that Redis has of it, once it is past its retention or erased; after INDEX.
REMOVE = """
local function events_of(job) return string.gmatch(redis.call('HGET', job, 'event_ids') or '', '%S+') end
local function messages_of(job)
  local messages = redis.call('HGET', job, 'delivery_id') or ''
  for event in events_of(job) do
    messages = messages .. ' ' .. (redis.call('HGET', 'shitu:event:' .. event, 'deliveries') or '')
  end
  return string.gmatch(messages, '%S+')
end

-- Its tombstone stays. Returns how many messages and events went.
local function remove(job, stream, id, now, tombstone_s)
  local gone = 0
  for message in messages_of(job) do
    local key = 'shitu:delivery:' .. message
    local endpoint = redis.call('HGET', key, 'endpoint')
    if endpoint then redis.call('ZREM', 'shitu:webhook:' .. endpoint .. ':deliveries', message) end
    redis.call('ZREM', 'shitu:deliveries:due', message)
    gone = gone + redis.call('DEL', key)
    redis.call('DEL', key .. ':log')
  end
  for event in events_of(job) do gone = gone + redis.call('DEL', 'shitu:event:' .. event) end
  local photo = redis.call('HGET', job, 'photo')
  if photo then
    redis.call('SREM', 'shitu:photo:' .. photo, id)
    redis.call('ZADD', 'shitu:photos:idle', 'GT', seconds(now), photo)
  end
  local stored = string.match(redis.call('HGET', job, 'result') or '', '^{"%$stored": "([^"]+)"')
  if stored then redis.call('ZADD', 'shitu:results:leaving', seconds(now), stored) end
  list(job, id, nil)
  redis.call('SET', 'shitu:tombstone:' .. id, redis.call('HGET', job, 'kind') or '', 'PX', math.floor(tombstone_s * 1000))
  redis.call('DEL', job, stream)
  redis.call('ZREM', 'shitu:jobs:finished', id)
  return gone
end
"""

"""What a change of a job's status changes beside the job, as parts of the scripts in infra.jobs.scripts."""

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

# Tells a job's batch of its new status (infra.jobs.batches); the last job's end is the batch's.
TELL_BATCH = """
local ENDED = {succeeded = true, failed = true, canceled = true}
local function tell_batch(batch, id, status, now, retention_s)
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

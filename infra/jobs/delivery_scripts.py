"""The transitions of webhook messages as Lua, like those of jobs in `infra.jobs.scripts`, whose keys they share.

A receiver that is dead or slow must not hold the couriers' places. So of the messages to one receiver only a few are
under way at a time (`shitu:receiver:{name}:flying`, by when their leases lapse): several where the last answer came
quickly, otherwise one (`:pace`). All that were slow share a part of the places (`shitu:receivers:slow`), and those with the
ones that are still to be known another (`:doubtful`), so that some places are always left to the quick ones. What finds no
place waits outside the queue (`:waiting`), of each receiver one in the lists of all (`:slow_waiting`, `:doubtful_waiting`;
`:next` says which), and the end of an attempt calls the next. Were that call lost, the keeper finds it in
`shitu:deliveries:due`, though at a pace that leaves room.
"""

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

_DELIVERY = (
    CLOCK
    + """
local key, due = KEYS[1], KEYS[2]
local function get(field) return redis.call('HGET', key, field) end
local function place(what) return 'shitu:receiver:' .. get('receiver') .. ':' .. what end

-- The job's own webhook shows in the job; messages to endpoints do not.
local function tell_job(...)
  local job = 'shitu:job:' .. (get('job_id') or '')
  if redis.call('HGET', job, 'delivery_id') == get('id') then redis.call('HSET', job, unpack({...})) end
end

-- The message is over: nobody takes it again.
local function close(status, problem)
  redis.call('HSET', key, 'status', status, 'ended_at', seconds(now))
  if problem then redis.call('HSET', key, 'last_error', problem) end
  redis.call('HDEL', key, 'lease_until')
  redis.call('ZREM', due, get('id'))
  if get('receiver') then
    redis.call('ZREM', place('waiting'), get('id'))
    redis.call('ZREM', 'shitu:receivers:slow_waiting', get('id'))
    redis.call('ZREM', 'shitu:receivers:doubtful_waiting', get('id'))
  end
end

-- A test says nothing of an endpoint's health, and is sent to a disabled one too.
local function is_test() return get('test') and true or false end

-- The endpoint is called no more, until somebody enables it again.
local function disable(endpoint, reason)
  local name = 'shitu:webhook:' .. endpoint
  if redis.call('HGET', name, 'state') == 'enabled' then
    redis.call('HSET', name, 'state', 'disabled', 'disabled_reason', reason, 'disabled_at', seconds(now))
  end
end
"""
)

# ARGV: now, lease_s, id, max_attempts, what is said of a message whose last courier left without a word, how many may be
# under way to a quick receiver, how many to all slow ones, how many to all but the quick ones, when at the earliest a
# waiting one is looked at again.
# A message that is over, or whose record is gone, is not due any more.
TAKE = (
    _DELIVERY
    + """
local id, per_receiver, slow_places, doubtful_places = ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local parked_s = tonumber(ARGV[9])
if get('status') ~= 'pending' then redis.call('ZREM', due, id); return {} end
if tonumber(get('next_at')) > now then return {} end
local until_ = tonumber(get('lease_until') or '')
if until_ and until_ > now then return {} end
local endpoint = get('endpoint')
if endpoint then
  local state = redis.call('HGET', 'shitu:webhook:' .. endpoint, 'state')
  if not state then close('disabled', 'The endpoint was deleted.'); return {} end
  if state ~= 'enabled' and not is_test() then close('disabled', 'The endpoint is disabled.'); return {} end
end
if tonumber(get('attempts')) >= (is_test() and 1 or tonumber(ARGV[4])) then
  close('failed', ARGV[5])
  tell_job('webhook_status', 'failed', 'webhook_attempts', get('attempts'))
  return {}
end
local lease_until = seconds(now + tonumber(ARGV[2]))
if get('receiver') then
  local flying, slow, doubtful = place('flying'), 'shitu:receivers:slow', 'shitu:receivers:doubtful'
  for _, places in ipairs({flying, slow, doubtful}) do redis.call('ZREMRANGEBYSCORE', places, '-inf', seconds(now)) end
  local pace = redis.call('GET', place('pace'))
  local full
  if redis.call('ZCARD', flying) >= (pace == 'quick' and per_receiver or 1) then full = place('waiting')
  elseif pace == 'slow' and redis.call('ZCARD', slow) >= slow_places then full = slow .. '_waiting'
  elseif pace ~= 'quick' and redis.call('ZCARD', doubtful) >= doubtful_places then full = doubtful .. '_waiting' end
  if full and full ~= place('waiting') then
    local first = redis.call('GET', place('next'))
    if first and first ~= id and redis.call('ZSCORE', full, first) then full = place('waiting')
    else redis.call('SET', place('next'), id, 'EX', 604800) end
  end
  if full then
    redis.call('ZADD', full, 'NX', seconds(now), id)
    redis.call('ZADD', due, seconds(now + math.max(parked_s, redis.call('ZCARD', full))), id)
    return {}
  end
  redis.call('ZADD', flying, lease_until, id)
  if pace == 'slow' then redis.call('ZADD', slow, lease_until, id) end
  if pace ~= 'quick' then redis.call('ZADD', doubtful, lease_until, id) end
  for _, list in ipairs({place('waiting'), slow .. '_waiting', doubtful .. '_waiting'}) do redis.call('ZREM', list, id) end
end
if endpoint then redis.call('HSET', key, 'url', redis.call('HGET', 'shitu:webhook:' .. endpoint, 'url')) end
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HINCRBY', key, 'token', 1)
redis.call('HSET', key, 'lease_until', lease_until)
redis.call('ZADD', due, lease_until, id)
return redis.call('HGETALL', key)
"""
)

# ARGV: now, token, the new status (pending: try again after delay_s), delay_s, HTTP status or '', error or '', the answer's
# beginning, how long it took in ms, whether that was quick, per_receiver, slow places, doubtful places, hidden_s,
# disable_after_s, the fewest failures that disable, id. Returns whether it was written, and the ids that have a place now.
RECORD = (
    _DELIVERY
    + """
local log = KEYS[3]
local token, status, delay_s, http_status, problem = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local quick, per_receiver, slow_places = ARGV[9] == '1', tonumber(ARGV[10]), tonumber(ARGV[11])
local doubtful_places, hidden_s = tonumber(ARGV[12]), tonumber(ARGV[13])
local answer = {0}

-- The ids that wait longest, as many as there are places now.
local function call(list, places)
  while places > 0 do
    local found = redis.call('ZPOPMIN', list)
    if #found == 0 then return end
    local waiting = 'shitu:delivery:' .. found[1]
    if redis.call('HGET', waiting, 'status') == 'pending' then
      redis.call('ZADD', due, seconds(now + hidden_s), found[1])
      answer[#answer + 1] = found[1]
      places = places - 1
    end
  end
end

local receiver = get('receiver')
local write = get('status') == 'pending' and get('token') == token
if write then
  answer[1] = 1
  local id, attempts = get('id'), get('attempts')
  redis.call('HSET', key, 'last_status', http_status, 'last_error', problem)
  redis.call('HDEL', key, 'lease_until')
  redis.call('RPUSH', log, cjson.encode({at = seconds(now), attempt = attempts, status = http_status, error = problem,
    answer = ARGV[7], ms = ARGV[8]}))
  redis.call('LTRIM', log, -50, -1)
  if is_test() then redis.call('EXPIRE', log, 86400) end
  if status == 'pending' and not is_test() then
    local next_at = seconds(now + delay_s)
    redis.call('HSET', key, 'next_at', next_at)
    redis.call('ZADD', due, next_at, id)
  else
    close(status == 'pending' and 'failed' or status)
  end
  tell_job('webhook_status', status, 'webhook_attempts', attempts, 'webhook_last_status', http_status)
  local endpoint = get('endpoint')
  if endpoint and not is_test() then
    local name = 'shitu:webhook:' .. endpoint
    if status == 'delivered' then
      redis.call('HDEL', name, 'failing_since', 'failures')
    elseif redis.call('EXISTS', name) == 1 then
      redis.call('HSETNX', name, 'failing_since', seconds(now))
      local failures = redis.call('HINCRBY', name, 'failures', 1)
      local failing_s = now - tonumber(redis.call('HGET', name, 'failing_since'))
      if status == 'disabled' then disable(endpoint, 'gone')
      elseif failing_s >= tonumber(ARGV[14]) and failures >= tonumber(ARGV[15]) then disable(endpoint, 'failing') end
    end
  end
end
if receiver then
  local slow, doubtful = 'shitu:receivers:slow', 'shitu:receivers:doubtful'
  for _, places in ipairs({place('flying'), slow, doubtful}) do redis.call('ZREM', places, ARGV[16]) end
  redis.call('SET', place('pace'), quick and 'quick' or 'slow', 'EX', 604800)
  call(slow .. '_waiting', slow_places - redis.call('ZCARD', slow))
  call(doubtful .. '_waiting', doubtful_places - redis.call('ZCARD', doubtful))
  call(place('waiting'), (quick and per_receiver or 1) - redis.call('ZCARD', place('flying')))
end
return answer
"""
)

REPLAY_DELIVERY = (
    _DELIVERY
    + """
local id = get('id')
if not id then return 0 end
redis.call('HSET', key, 'status', 'pending', 'attempts', 0, 'next_at', seconds(now))
redis.call('HINCRBY', key, 'token', 1)
redis.call('HDEL', key, 'lease_until', 'ended_at')
redis.call('ZADD', due, seconds(now), id)
tell_job('webhook_status', 'pending')
return 1
"""
)

# A courier that is just sending it finds its token void: what it learns changes nothing any more.
STOP = (
    _DELIVERY
    + """
if get('status') ~= 'pending' then return 0 end
redis.call('HINCRBY', key, 'token', 1)
close('stopped', 'It was stopped.')
tell_job('webhook_status', 'stopped')
return 1
"""
)

# A message to an endpoint about an event: one that the endpoint was not sent before, or a test. KEYS: the delivery, due,
# the event. ARGV: now, id, event, endpoint, '1' for a test, its body. A test's event is no job's, and all is kept for a day.
ADD = (
    CLOCK
    + """
local key, due, event = KEYS[1], KEYS[2], KEYS[3]
local id, event_id, endpoint, test = ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local url = redis.call('HGET', 'shitu:webhook:' .. endpoint, 'url')
if not url or redis.call('EXISTS', key) == 1 then return 0 end
if test then
  redis.call('HSET', event, 'id', event_id, 'type', 'webhook.test', 'at', seconds(now), 'data', ARGV[6], 'deliveries', id)
  redis.call('HSET', key, 'test', 1)
elseif redis.call('EXISTS', event) == 0 then
  return 0
else
  redis.call('HSET', event, 'deliveries', (redis.call('HGET', event, 'deliveries') or '') .. ' ' .. id)
end
redis.call('HSET', key, 'id', id, 'event_id', event_id, 'type', redis.call('HGET', event, 'type'), 'job_id', redis.call('HGET', event, 'job_id') or '', 'url', url,
  'status', 'pending', 'attempts', 0, 'token', 0, 'created_at', seconds(now), 'next_at', seconds(now), 'receiver', endpoint,
  'endpoint', endpoint)
redis.call('ZADD', due, seconds(now), id)
redis.call('ZADD', 'shitu:webhook:' .. endpoint .. ':deliveries', seconds(now), id)
if test then
  redis.call('EXPIRE', key, 86400)
  redis.call('EXPIRE', event, 86400)
end
return 1
"""
)

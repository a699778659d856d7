"""How the end of a job becomes an event: a part of the job scripts (`infra.jobs.scripts`), whose names it uses.

The event, its place in the feed and the messages to all who are notified are written with the end itself, so that there is
no moment at which a process could die between them.
"""

from __future__ import annotations

NOTIFY = """
-- A message to one receiver. `receiver` is whom a slow answer delays: an endpoint, or whoever has the URL's host and port.
local function send(event, name, message, endpoint, url)
  local next_at = seconds(now + first_delay_s)
  local record = {'id', message, 'event_id', event, 'type', name, 'job_id', id, 'url', url, 'status', 'pending', 'attempts', 0, 'token', 0,
    'created_at', seconds(now), 'next_at', next_at, 'receiver', endpoint or string.lower(string.match(url, '^%a+://[^/?#]*') or url)}
  for _, name in ipairs({'traceparent', 'tracestate'}) do
    if get(name) then record[#record + 1] = name; record[#record + 1] = get(name) end
  end
  if endpoint then
    record[#record + 1] = 'endpoint'; record[#record + 1] = endpoint
    redis.call('ZADD', 'shitu:webhook:' .. endpoint .. ':deliveries', seconds(now), message)
  end
  redis.call('HSET', 'shitu:delivery:' .. message, unpack(record))
  redis.call('ZADD', due, next_at, message)
end

-- The event of a job's end, its place in the feed, and the messages to all endpoints that want it. What a replay of a failed
-- job will overwrite is kept with the event; other jobs don't change any more.
local function notify(status)
  local kind = get('kind')
  local name = kind .. '.' .. status
  local last = 0
  if redis.call('EXISTS', 'shitu:feed') == 1 then
    local about = redis.call('XINFO', 'STREAM', 'shitu:feed')
    for i = 1, #about, 2 do
      if about[i] == 'last-generated-id' then last = tonumber(string.match(about[i + 1], '^%d+')) end
    end
  else
    redis.call('SET', 'shitu:feed:epoch', string.sub(delivery_id, -8))
    redis.call('DEL', 'shitu:feed:floor')
  end
  redis.call('XADD', 'shitu:feed', string.format('%d-0', last + 1), 'id', delivery_id, 'at', seconds(now))
  local event = 'shitu:event:' .. delivery_id
  redis.call('HSET', event, 'id', delivery_id, 'job_id', id, 'type', name, 'at', seconds(now),
    'cursor', string.format('%d', last + 1), 'expires_at', get('expires_at'))
  if status == 'failed' then redis.call('HSET', event, 'job', cjson.encode(redis.call('HGETALL', job))) end
  local messages = ''
  local url = get('webhook_url')
  if url then
    send(delivery_id, name, delivery_id, nil, url)
    messages = delivery_id
  end
  for _, endpoint in ipairs(redis.call('SMEMBERS', 'shitu:webhooks')) do
    local key = 'shitu:webhook:' .. endpoint
    local wanted = ' ' .. (redis.call('HGET', key, 'events') or '') .. ' '
    local wants = string.find(wanted, ' * ', 1, true) or string.find(wanted, ' ' .. name .. ' ', 1, true)
      or string.find(wanted, ' ' .. kind .. '.* ', 1, true)
    if wants and redis.call('HGET', key, 'state') == 'enabled' then
      local message = 'dlv_' .. string.sub(delivery_id, 5) .. string.sub(endpoint, 5)
      send(delivery_id, name, message, endpoint, redis.call('HGET', key, 'url'))
      messages = messages .. ' ' .. message
    end
  end
  redis.call('HSET', event, 'deliveries', messages)
  redis.call('HSET', job, 'event_ids', (get('event_ids') or '') .. ' ' .. delivery_id)
end
"""

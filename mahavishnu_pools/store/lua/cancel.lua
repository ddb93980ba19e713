-- Asks for the end of tasks. ARGV: 2 result lifetime in ms, 3 reason, then ids
-- Reply: for each 'cancelled' (it never ran, or waited for its next attempt), 'asked' (it is running), the outcome's status when there
-- is one, or 'unknown'
even_when_full()
local ttl, reason, now = ARGV[2], ARGV[3], clock()
local reply, left = {}, {}

-- Messages of one place that are looked through for cancelled ones; others are dropped by the next claims.
local LOOKED_MOST = 1000

local function end_waiting(id, pool, bucket)
  local outcome = cjson.encode({ status = 'cancelled', error = reason })
  local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskRevokedError', exc_message = { reason }, exc_module = 'celery.exceptions' } })
  settle(id, pool, { status = 'cancelled', outcome = outcome, meta = meta, ttl = ttl }, now)
  left[pool] = left[pool] or { ids = {}, buckets = {} }
  left[pool].ids[id] = true
  left[pool].buckets[bucket or '0'] = true
end

local function end_running(id, pool, claim)
  call('HSET', k_task(id), 'cancel', reason)
  call('SADD', k_cancels(string.match(claim, '^(.*):%d+$')), id)
  ring(pool)
end

for i = 4, #ARGV do
  local id = ARGV[i]
  local h = call('HMGET', k_task(id), 'status', 'pool', 'claim', 'bucket')
  if not h[1] then
    reply[#reply + 1] = 'unknown'
  elseif STAT[h[1]] then
    reply[#reply + 1] = h[1]
  elseif h[1] == 'running' and h[3] then
    end_running(id, h[2], h[3])
    reply[#reply + 1] = 'asked'
  else
    end_waiting(id, h[2], h[4])
    reply[#reply + 1] = 'cancelled'
  end
end

local only = #ARGV == 4 and ARGV[4]

local function id_in(message)
  if only and not string.find(message, only, 1, true) then return nil end
  local good, m = pcall(cjson.decode, message)
  return good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
end

local function id_of_value(value) return string.match(value, '^([^\n]*)\n') end

for pool, waiting in pairs(left) do
  for bucket in pairs(waiting.buckets) do
    local list = bucket_key(pool, bucket)
    for _, message in ipairs(call('LRANGE', list, -LOOKED_MOST, -1)) do
      if waiting.ids[id_in(message) or ''] then call('LREM', list, -1, message) end
    end
  end
  for _, value in ipairs(call('LRANGE', k_suspects(pool), -LOOKED_MOST, -1)) do
    if waiting.ids[id_of_value(value)] then call('LREM', k_suspects(pool), -1, value) end
  end
  for _, value in ipairs(call('ZRANGE', k_delayed(pool), 0, LOOKED_MOST - 1)) do
    if waiting.ids[id_of_value(value)] then call('ZREM', k_delayed(pool), value) end
  end
  reindex(pool, false)
  ring(pool)
end
return reply

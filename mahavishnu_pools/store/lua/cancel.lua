-- Asks for the end of tasks. ARGV: 2 result lifetime in ms, 3 reason, then ids
-- Reply: for each 'cancelled' (it never ran, or waited for its next attempt), 'asked' (it is running), the outcome's status when there
-- is one, or 'unknown'
even_when_full()
local ttl, reason, now = ARGV[2], ARGV[3], clock()
local reply, left = {}, {}

-- Messages of one place, and their bytes, that are looked through for cancelled ones. The others are noted: they do not count as
-- waiting, and the next claims drop them.
local LOOKED_MOST, BYTES, PIECE, GONE = 1000, 4 * 1024 * 1024, 10, '\0gone'

local function end_waiting(id, h)
  local pool = h[2]
  local outcome = cjson.encode({ status = 'cancelled', error = reason })
  local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskRevokedError', exc_message = { reason }, exc_module = 'celery.exceptions' } })
  if h[1] == 'awaiting_approval' then decided(id, { decision = 'cancelled', reason = reason }, now) end
  settle(id, pool, { status = 'cancelled', outcome = outcome, meta = meta, ttl = ttl }, now)
  if h[1] == 'awaiting_approval' or h[1] == 'waiting' then return end -- its message was kept apart
  if h[5] then return call('HDEL', k_batch(h[5]), 'then') end -- what follows a batch has no message before the batch has ended
  left[pool] = left[pool] or { ids = {}, count = 0, buckets = {} }
  left[pool].ids[id] = true
  left[pool].count = left[pool].count + 1
  left[pool].buckets[h[4] or '0'] = true
end

for i = 4, #ARGV do
  local id = ARGV[i]
  local h = call('HMGET', k_task(id), 'status', 'pool', 'claim', 'bucket', 'follows')
  if not h[1] then
    reply[#reply + 1] = 'unknown'
  elseif STAT[h[1]] then
    reply[#reply + 1] = h[1]
  elseif h[1] == 'running' and h[3] then
    end_running(id, h[2], h[3], reason)
    reply[#reply + 1] = 'asked'
  else
    end_waiting(id, h)
    reply[#reply + 1] = 'cancelled'
  end
end

local only = #ARGV == 4 and ARGV[4]

local function id_in(message)
  if only and not string.find(message, only, 1, true) then return nil end
  local good, m = pcall(cjson.decode, message)
  return good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
end

local function message_of(value) return string.match(value, '^[^\n]*\n%d+\n(.*)$') or value end

local function id_of_value(value) return string.match(value, '^([^\n]*)\n') end

-- Goes through a place from the oldest message on, a piece(from, to) at a time, and takes out the wanted ones.
-- Returns whether all of it was seen.
local function through(length, piece, id_of, wanted, take_out)
  local looked, bytes = 0, 0
  while wanted.count > 0 and looked < length do
    if looked >= LOOKED_MOST or bytes >= BYTES then return false end
    for i, value in ipairs(piece(looked, looked + PIECE - 1)) do
      bytes = bytes + #value
      local id = id_of(value)
      if id and wanted.ids[id] then
        wanted.ids[id] = nil
        wanted.count = wanted.count - 1
        take_out(looked + i - 1, value)
      end
    end
    looked = looked + PIECE
  end
  return true
end

local function through_list(list, id_of, wanted, pool)
  local marked = 0
  local function piece(from, to)
    local some, oldest_first = call('LRANGE', list, -to - 1, -from - 1), {}
    for i = #some, 1, -1 do oldest_first[#oldest_first + 1] = some[i] end
    return oldest_first
  end
  local seen = through(call('LLEN', list), piece, id_of, wanted, function(at, value)
    call('LSET', list, -at - 1, GONE)
    untold(pool, message_of(value), ttl)
    marked = marked + 1
  end)
  if marked > 0 then call('LREM', list, -marked, GONE) end
  return seen
end

local function through_delayed(pool, wanted)
  local out = {}
  local seen = through(call('ZCARD', k_delayed(pool)), function(from, to) return call('ZRANGE', k_delayed(pool), from, to) end,
    id_of_value, wanted, function(_, value) out[#out + 1] = value end)
  for _, value in ipairs(out) do
    call('ZREM', k_delayed(pool), value)
    untold(pool, message_of(value), ttl)
  end
  return seen
end

for pool, wanted in pairs(left) do
  local seen = through_list(k_suspects(pool), id_of_value, wanted, pool)
  seen = through_delayed(pool, wanted) and seen
  for bucket in pairs(wanted.buckets) do seen = through_list(bucket_key(pool, bucket), id_in, wanted, pool) and seen end
  if not seen then
    for id in pairs(wanted.ids) do call('SADD', k_ended(pool), id) end
  end
  reindex(pool, false)
  ring(pool)
end
return reply

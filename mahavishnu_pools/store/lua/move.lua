-- Moves waiting tasks of one place (a priority bucket, 'delayed' or 'suspects') from a pool to the back of the same place of
-- another one. They keep their order, and so do those that stay. Looked at are the newest WINDOW ones (-1: all), the oldest of
-- them first, so that a long queue is moved by repeated calls.
-- ARGV: 2 request id, 3 source, 4 target, 5 place, 6 window, 7 most, 8 how many of each lot (JSON), 9 '1' to move only while the
-- target's load stays below the source's
-- Reply: {'ok', moved, window left, '1' when the loads are even, lot, number, …}; {'closing', target, its status, its name}
local request, source, target, place, window, most = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local quotas, even = cjson.decode(ARGV[8]), ARGV[9] == '1'
local LOOKED_AT, BYTES, GONE = 4 * most, 4 * 1024 * 1024, '\0gone'
local before = call('GET', k_moved(request))
if before then return cjson.decode(before) end
if not takes(target) then return { 'closing', target, call('HGET', k_pool(target), 'status') or 'closed', call('HGET', k_pool(target), 'name') or target } end

local function filled(pool)
  return queued_of(pool) + running_of(pool), math.max(1, tonumber(call('HGET', k_pool(pool), 'workers')) or 1)
end
local n_source, w_source = filled(source)
local n_target, w_target = filled(target)

local taken, moved, looked, bytes, is_even = {}, 0, 0, 0, false

-- What becomes of a waiting message: true when it leaves its place. put(id, message) puts it into the target's.
local function decide(message, put)
  looked, bytes = looked + 1, bytes + #message
  local id, lot = lot_of(message)
  if not id then
    dead_letter('unreadable-' .. next_turn(), source, 'the message cannot be read', message, clock())
    return true
  end
  if call('SREM', k_ended(source), id) == 1 or not lot then return true end -- it has its outcome already
  if (quotas[lot] or 0) <= 0 then return false end
  if even and (n_target + 1) / w_target >= n_source / w_source then
    is_even = true
    return false
  end
  put(id, readdressed(message, source, target))
  local status = call('HGET', k_task(id), 'status')
  if status and status ~= 'running' then call('HSET', k_task(id), 'pool', target) end
  quotas[lot], taken[lot], moved = quotas[lot] - 1, (taken[lot] or 0) + 1, moved + 1
  n_source, n_target = n_source - 1, n_target + 1
  return true
end

local function more() return moved < most and looked < LOOKED_AT and bytes < BYTES and not is_even end

-- Goes through a list from the oldest of the window. What leaves is marked first and taken out at once in the end.
local function through_list(from, to, message_of, value_with)
  local length = call('LLEN', from)
  if window < 0 or window > length then window = length end
  local at, marked = window - 1, 0
  while at >= 0 and more() do
    local value = call('LINDEX', from, at)
    local function put(id, message) call('LPUSH', to, value_with(value, message)) end
    if decide(message_of(value), put) then
      call('LSET', from, at, GONE)
      marked = marked + 1
    end
    if not is_even then at = at - 1 end
  end
  if marked > 0 then call('LREM', from, 2 * window > length and -marked or marked, GONE) end
  return at + 1
end

local function same(value) return value end
local function after_head(value) return string.sub(value, (string.find(value, '\n', (string.find(value, '\n', 1, true)) + 1, true)) + 1) end
local function with_head(value, message) return string.sub(value, 1, #value - #after_head(value)) .. message end

local left
if place == 'delayed' then
  local count = call('ZCARD', k_delayed(source))
  if window < 0 or window > count then window = count end
  local rank = count - window
  while rank < count and more() do
    local found = call('ZRANGE', k_delayed(source), rank, rank, 'WITHSCORES')
    local value = found[1]
    local function put(id, message)
      if tonumber(found[2]) < PARKED then return call('ZADD', k_delayed(target), found[2], with_head(value, message)) end
      needs_kit().park(target, id, string.match(value, '^[^\n]*\n(%d+)'), message, call('HGET', k_task(id), 'needs') or '{}')
    end
    if decide(after_head(value), put) then
      call('ZREM', k_delayed(source), value)
      count = count - 1
    elseif not is_even then
      rank = rank + 1
    end
  end
  left = count - rank
elseif place == 'suspects' then
  left = through_list(k_suspects(source), k_suspects(target), after_head, with_head)
  if moved > 0 then call('PUBLISH', k_changed(), target) end
else
  left = through_list(bucket_key(source, place), bucket_key(target, place), same, function(_, message) return message end)
end

reindex(source, false)
reindex(target, false)
if moved > 0 then
  ring(source)
  ring(target)
end
local reply = { 'ok', moved, left, is_even and '1' or '0' }
for lot, n in pairs(taken) do
  reply[#reply + 1] = lot
  reply[#reply + 1] = n
end
if moved > 0 then call('SET', k_moved(request), cjson.encode(reply), 'EX', 60) end
return reply

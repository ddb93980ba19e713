-- Reads what pools need workers by. ARGV: 2 node, 3 lifetime of its turn in ms, then pool id and least workers of each pool
-- Reply, per pool that this node is to scale: id, workers, waiting, running, seconds the longest has waited, runs ended, their
-- seconds, when its workers were chosen by hand ('' never), the time. Pools with nothing to do and their least workers are left out.
local node, turn = ARGV[2], ARGV[3]
local now = clock()
local WAITED_BYTES = 64 * 1024 -- of larger messages it is not looked up how long they have waited

local function waited(pool)
  local most = 0
  for b = 0, BUCKETS - 1 do
    local message = call('LINDEX', bucket_key(pool, b), -1)
    if message and #message <= WAITED_BYTES then
      local good, m = pcall(cjson.decode, message)
      local id = good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
      local created = type(id) == 'string' and tonumber(call('HGET', k_task(id), 'created') or nil)
      if created then most = math.max(most, now - created) end
    end
  end
  return most
end

-- One node at a time scales a pool: the one that looks at it again before its turn is over keeps it.
local function mine(pool)
  local holder = call('GET', k_scaler(pool))
  if holder and holder ~= node then return false end
  call('SET', k_scaler(pool), node, 'PX', turn)
  return true
end

local reply = {}
for i = 4, #ARGV, 2 do
  local pool, least = ARGV[i], tonumber(ARGV[i + 1])
  local h = call('HMGET', k_pool(pool), 'status', 'workers', 'member', 'duration_count', 'duration_sum', 'chosen_at')
  local load = h[3] and tonumber(call('ZSCORE', k_load(), h[3]) or nil) or 0
  local active = h[1] == 'running' or h[1] == 'degraded'
  if active and (load % DEGRADED_PENALTY > 0 or tonumber(h[2]) > least) and mine(pool) then
    local queued = queued_of(pool)
    reply[#reply + 1] = { pool, tonumber(h[2]), queued, running_of(pool), stamp(queued > 0 and waited(pool) or 0),
      tonumber(h[4] or 0), h[5] or '0', h[6] or '', stamp(now) }
  end
end
return reply

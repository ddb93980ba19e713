-- Reads what pools need workers by. ARGV: 2 node, 3 lifetime of its turn in ms, then pool id and least workers of each pool
-- Reply, per pool that this node is to scale: id, workers, waiting, running, seconds the longest has waited, runs ended, their
-- seconds, when its workers were chosen by hand ('' never), the time, starts a second ('' no limit). Pools with nothing to do and their least workers are left out.
local node, turn = ARGV[2], ARGV[3]
local now = clock()

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
  local h = call('HMGET', k_pool(pool), 'status', 'workers', 'member', 'duration_count', 'duration_sum', 'chosen_at',
    'rate')
  local load = h[3] and tonumber(call('ZSCORE', k_load(), h[3]) or nil) or 0
  local active = h[1] == 'running' or h[1] == 'degraded'
  if active and (load % DEGRADED_PENALTY > 0 or tonumber(h[2]) > least) and mine(pool) then
    -- For what waits for its time, for what it needs of a node, for the end of a cool-down, or to run alone, more workers are of no use.
    local apart = call('ZCOUNT', k_delayed(pool), '(' .. stamp(now), '+inf') + call('LLEN', k_suspects(pool))
    local queued = math.max(0, queued_of(pool) - apart)
    reply[#reply + 1] = { pool, tonumber(h[2]), queued, running_of(pool), stamp(queued > 0 and longest_wait(pool, now) or 0),
      tonumber(h[4] or 0), h[5] or '0', h[6] or '', stamp(now), h[7] or '' }
  end
end
return reply

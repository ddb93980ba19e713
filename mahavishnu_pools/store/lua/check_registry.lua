-- Finds entries of pools that do not exist, and leases their pool does not know or that are known and do not exist.
-- ARGV: 2 '1' to remove (or add) them. Reply: {where, what}…
local mend = ARGV[2] == '1'
if mend then even_when_full() end
local reply = {}

local function lives(pool) return call('EXISTS', k_pool(pool)) == 1 end

local function wrong(where, what, command, ...)
  reply[#reply + 1] = { where, what }
  if mend then call(command, ...) end
end

local orders = { { 'pools', k_pools() }, { 'turns', k_turns() }, { 'affinity_turns', k_affinity_turns() } }
for _, order in ipairs(orders) do
  for _, pool in ipairs(call('ZRANGE', order[2], 0, -1)) do
    if not lives(pool) then wrong(order[1], pool, 'ZREM', order[2], pool) end
  end
end
for _, member in ipairs(call('ZRANGE', k_load(), 0, -1)) do
  if not lives(string.sub(member, 17)) then wrong('load', member, 'ZREM', k_load(), member) end
end
local names = call('HGETALL', k_pool_names())
for i = 1, #names, 2 do
  if not lives(names[i + 1]) then wrong('pool_names', names[i], 'HDEL', k_pool_names(), names[i]) end
end
for _, pool in ipairs(call('SMEMBERS', k_needing())) do
  if not lives(pool) then wrong('needing', pool, 'SREM', k_needing(), pool) end
end
for _, pool in ipairs(call('ZRANGE', k_pools(), 0, -1)) do
  for _, lease in ipairs(call('SMEMBERS', k_pool_leases(pool))) do
    if call('HEXISTS', k_leases(), lease) == 0 then wrong('pool_leases', lease, 'SREM', k_pool_leases(pool), lease) end
  end
end
local leases = call('HGETALL', k_leases())
for i = 1, #leases, 2 do
  local pool = cjson.decode(leases[i + 1]).pool
  if lives(pool) and call('SISMEMBER', k_pool_leases(pool), leases[i]) == 0 then
    wrong('leases', leases[i], 'SADD', k_pool_leases(pool), leases[i])
  end
end
return reply

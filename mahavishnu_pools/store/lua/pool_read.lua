-- Reply: registry version, then per pool: id, {hash}, queued, running, {groups}, suspects. ARGV: ids or names from 2; none: all, in order
-- The system's own periodic work is no task of the pool that happens to do it: claims say which of them are such.
local function tasks_of(pool)
  local running = running_of(pool)
  if running == 0 then return 0 end
  for _, lease in ipairs(call('SMEMBERS', k_pool_leases(pool))) do
    for number in string.gmatch(call('HGET', k_reply(lease), 'periodic') or '', '%d+') do
      running = running - call('HEXISTS', k_claims(lease), number)
    end
  end
  return running
end

local ids = {}
if #ARGV == 1 then
  ids = call('ZRANGE', k_pools(), 0, -1)
else
  for i = 2, #ARGV do ids[#ids + 1] = call('HGET', k_pool_names(), ARGV[i]) or ARGV[i] end
end
local reply = { tonumber(call('GET', k_registry()) or 0) }
for _, id in ipairs(ids) do
  local h = call('HGETALL', k_pool(id))
  if #h > 0 then
    reply[#reply + 1] = { id, h, queued_of(id), tasks_of(id), groups_of(id), call('LLEN', k_suspects(id)) }
  elseif call('EXISTS', k_gone(id)) == 1 then
    reply[#reply + 1] = { id, {}, 0, 0, {}, 0 }
  end
end
return reply

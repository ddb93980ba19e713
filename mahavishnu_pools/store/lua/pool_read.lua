-- Reply: registry version, then per pool: id, {hash}, queued, running, {groups}, suspects. ARGV: ids or names from 2; none: all, in order
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
    reply[#reply + 1] = { id, h, queued_of(id), running_of(id), groups_of(id), call('LLEN', k_suspects(id)) }
  elseif call('EXISTS', k_gone(id)) == 1 then
    reply[#reply + 1] = { id, {}, 0, 0, {}, 0 }
  end
end
return reply

-- An agent asks to take over the queue of a pool that nobody runs. ARGV: 2 pool, 3 node, 4 lifetime of the turn in ms
-- Reply: 1 when the pool is to be worked for, has waiting tasks and no ready group on a living node, and nobody else has the turn
local pool = ARGV[2]
local status = call('HGET', k_pool(pool), 'status')
if status ~= 'running' and status ~= 'degraded' and status ~= 'failed' then return 0 end
if queued_of(pool) == 0 then return 0 end
local groups = call('HGETALL', k_groups(pool))
for i = 1, #groups, 2 do
  local good, group = pcall(cjson.decode, groups[i + 1])
  if good and group.status == 'ready' and call('EXISTS', k_node(groups[i])) == 1 then return 0 end
end
return call('SET', k_failover(pool), ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0

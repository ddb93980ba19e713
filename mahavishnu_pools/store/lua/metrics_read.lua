-- Reads what the metrics of the whole system are made of. No ARGV.
-- Reply: time, edges of the buckets, {pools}, {leases: about (JSON), claims, 1 when it is alive}, {nodes: about (JSON), 1 when it
-- is alive}, dead letters kept, {bus: type, number of messages}, {worker types that cool down: JSON}
-- A pool: id, name, type, status, wanted workers, config (JSON), waiting, delayed, suspects, seconds the longest waits,
-- {groups}, {figures}, run seconds, {input, output, usd it has used in all}, messages in its mailbox
local now = clock()
local pools, leases, nodes, edges = {}, {}, {}, {}
for _, edge in ipairs(EDGES) do edges[#edges + 1] = tostring(edge) end
for _, id in ipairs(call('ZRANGE', k_pools(), 0, -1)) do
  local h = call('HMGET', k_pool(id), 'name', 'type', 'status', 'workers', 'config', 'duration_sum')
  if h[1] then
    local queued = queued_of(id)
    pools[#pools + 1] = { id, h[1], h[2], h[3], h[4], h[5], queued, call('ZCARD', k_delayed(id)), call('LLEN', k_suspects(id)),
      stamp(queued > 0 and longest_wait(id, now) or 0), groups_of(id), call('HGETALL', k_figures(id)), h[6] or '0',
      call('HMGET', k_spent(id), 'life input', 'life output', 'life usd'), call('LLEN', k_mailbox(id)) }
  end
end
local all = call('HGETALL', k_leases())
for i = 1, #all, 2 do leases[#leases + 1] = { all[i + 1], call('HLEN', k_claims(all[i])), call('EXISTS', k_lease(all[i])) } end
all = call('HGETALL', k_nodes())
for i = 1, #all, 2 do nodes[#nodes + 1] = { all[i + 1], call('EXISTS', k_node(all[i])) } end
return { stamp(now), edges, pools, leases, nodes, call('ZCARD', k_dead()), call('HGETALL', k_bus_count()), call('HGETALL', k_cooldowns()) }

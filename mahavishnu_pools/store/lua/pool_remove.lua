-- Removes a pool that has nothing queued and no lease left. ARGV: 2 id. Reply: {'ok'}, {'busy', queued, leases} or {'unknown'}
local id = ARGV[2]
local h = call('HMGET', k_pool(id), 'name', 'member')
if not h[1] then return { 'unknown' } end
local queued, leases = queued_of(id), call('SCARD', k_pool_leases(id))
if queued > 0 or leases > 0 then return { 'busy', queued, leases } end
even_when_full()
if h[2] then call('ZREM', k_load(), h[2]) end
call('HDEL', k_pool_names(), h[1])
call('ZREM', k_pools(), id)
call('ZREM', k_turns(), id)
call('ZREM', k_affinity_turns(), id)
call('SREM', k_needing(), id)
call('DEL', k_pool(id), k_bell(id), k_delayed(id), k_suspects(id), k_ended(id), k_pool_leases(id), k_groups(id), k_recent(id), k_binding(id),
  k_mailbox(id), k_spent(id), k_figures(id), k_delegated(id))
for b = 0, BUCKETS - 1 do call('DEL', bucket_key(id, b)) end
call('SET', k_gone(id), '1', 'EX', 7 * 86400)
call('SET', k_gone(h[1]), '1', 'EX', 7 * 86400)
changed(id)
event('pool_closed', id, h[1])
tell('pool_closed', id, { name = h[1] }, clock())
return { 'ok' }

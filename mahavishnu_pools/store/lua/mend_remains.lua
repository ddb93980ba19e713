-- Removes what is left of a pool that does not exist, once nothing waits there. ARGV: 2 pool. Reply: 1 when it did
local pool = ARGV[2]
if call('EXISTS', k_pool(pool)) == 1 or messages_of(pool) > 0 then return 0 end
for _, lease in ipairs(call('SMEMBERS', k_pool_leases(pool))) do
  if call('HEXISTS', k_leases(), lease) == 1 then return 0 end
end
call('DEL', k_bell(pool), k_delayed(pool), k_suspects(pool), k_ended(pool), k_pool_leases(pool), k_groups(pool), k_recent(pool), k_binding(pool), k_figures(pool))
return 1

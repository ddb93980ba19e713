-- Removes what is left of a lease that nobody knows. One with claims is made known again, so that reaping hands them back.
-- ARGV: 2 lease, 3 pool to name when no claim's record names one. Reply: 'gone', 'known' (again), or 'none' when there is nothing to do
local lease = ARGV[2]
if call('HEXISTS', k_leases(), lease) == 1 then return 'none' end
even_when_full()
local first = call('HSCAN', k_claims(lease), 0, 'COUNT', 1)[2]
if #first == 0 then
  call('DEL', k_claims(lease), k_reply(lease), k_cancels(lease), k_lease(lease))
  return 'gone'
end
local id = string.match(first[2], '^([^\n]*)\n') or ''
local pool = call('HGET', k_task(id), 'pool') or ARGV[3]
call('HSET', k_leases(), lease, cjson.encode({ pool = pool, node = '', pid = 0, started = 0 }))
if call('EXISTS', k_pool(pool)) == 1 then call('SADD', k_pool_leases(pool), lease) end
return 'known'

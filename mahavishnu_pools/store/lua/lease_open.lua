-- Makes a lease. ARGV: 2 lease, 3 pool, 4 about (JSON with pool), 5 lifetime in ms
if call('EXISTS', k_pool(ARGV[3])) == 0 then return 0 end
even_when_full()
call('HSET', k_leases(), ARGV[2], ARGV[4])
call('SET', k_lease(ARGV[2]), '1', 'PX', ARGV[5])
call('SADD', k_pool_leases(ARGV[3]), ARGV[2])
return 1

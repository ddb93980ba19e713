-- Notes where a task of a pool runs, or forgets it. ARGV: 2 pool, 3 task, 4 JSON, or '' to forget
even_when_full()
if ARGV[4] == '' then return call('HDEL', k_delegated(ARGV[2]), ARGV[3]) end
-- What belongs to a pool is removed with it, so it is not written after that.
if call('EXISTS', k_pool(ARGV[2])) == 1 then call('HSET', k_delegated(ARGV[2]), ARGV[3], ARGV[4]) end
return 1

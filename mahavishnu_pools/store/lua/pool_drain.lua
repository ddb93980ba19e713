-- Has a pool take no new tasks. ARGV: 2 pool, 3 seconds after which what still runs is handed back ('' never), 4 '1' when it goes on
-- with what waits until then, 5 reason
-- Reply: {'ok'}, {'unknown'} or {'status', what it is}
local pool = ARGV[2]
local status = call('HGET', k_pool(pool), 'status')
if not status then return { 'unknown' } end
if status ~= 'running' and status ~= 'degraded' and status ~= 'paused' and status ~= 'draining' then return { 'status', status } end
even_when_full()
call('HDEL', k_pool(pool), 'drain_until', 'works_off')
call('HSET', k_pool(pool), 'status', 'draining', 'reason', ARGV[5])
if ARGV[3] ~= '' then call('HSET', k_pool(pool), 'drain_until', stamp(clock() + tonumber(ARGV[3]))) end
if ARGV[4] == '1' then call('HSET', k_pool(pool), 'works_off', '1') end
reindex(pool, false)
changed(pool)
tell_status(pool, status, 'draining')
ring(pool)
return { 'ok' }

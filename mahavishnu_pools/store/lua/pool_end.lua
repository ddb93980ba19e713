-- Stops a pool for good if nothing of it waits or runs. ARGV: 2 pool, 3 reason
-- Reply: {'ok'}, {'busy', queued, running} or {'unknown'}
local pool = ARGV[2]
local status = call('HGET', k_pool(pool), 'status')
if not status then return { 'unknown' } end
local queued, running = queued_of(pool), running_of(pool)
if queued > 0 or running > 0 then return { 'busy', queued, running } end
even_when_full()
call('HSET', k_pool(pool), 'status', 'stopped', 'reason', ARGV[3])
reindex(pool, false)
changed(pool)
tell_status(pool, status, 'stopped')
ring(pool)
return { 'ok' }

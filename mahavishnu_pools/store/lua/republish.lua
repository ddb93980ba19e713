-- A Celery task asks to run again (retry): its message waits in the delayed set of its pool until it is due.
-- ARGV: 2 task, 3 pool, 4 bucket, 5 message, 6 due (epoch seconds, or '' now)
local id, pool = ARGV[2], ARGV[3]
if call('EXISTS', k_pool(pool)) == 0 then return 0 end
local now = clock()
local due = tonumber(ARGV[6]) or now
call('ZADD', k_delayed(pool), stamp(due), id .. '\n' .. ARGV[4] .. '\n' .. ARGV[5])
call('HSET', k_task(id), 'status', 'retrying', 'retry_at', stamp(due), 'pool', pool)
reindex(pool, false)
ring(pool)
return 1

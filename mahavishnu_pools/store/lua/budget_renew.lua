-- Lets a pool go on that was paused because the budget of a day was spent, when that day is over. ARGV: 2 pool. Reply: 1 done, 0 not
local pool = ARGV[2]
local h = call('HMGET', k_pool(pool), 'status', 'spent_on')
if h[1] ~= 'paused' or not h[2] or h[2] == 'life' or h[2] == tostring(math.floor(clock() / 86400)) then return 0 end
even_when_full()
call('HSET', k_pool(pool), 'status', 'running')
call('HDEL', k_pool(pool), 'reason', 'spent_on')
reindex(pool, false)
changed(pool)
event('budget_renewed', pool, call('HGET', k_pool(pool), 'name') or '', 'span', 'day', 'reason', 'it is a new day (UTC)')
tell_status(pool, 'paused', 'running')
ring(pool)
return 1

-- Notes that a sink could not be delivered to. ARGV: 2 sink, 3 owner, 4 error, 5 seconds to the next try, doubled by each failure,
-- 6 the most of them. Reply: 1, or 0 when another one holds the sink
even_when_full()
if call('GET', k_sink_lock(ARGV[2])) ~= ARGV[3] then return 0 end
local key = k_sink(ARGV[2])
local failures = call('HINCRBY', key, 'failures', 1)
local pause = math.min(tonumber(ARGV[6]), tonumber(ARGV[5]) * 2 ^ math.min(failures - 1, 30))
call('HSET', key, 'error', ARGV[4], 'not_before', stamp(clock() + pause))
return 1

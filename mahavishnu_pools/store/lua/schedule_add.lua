-- Makes a schedule. ARGV: 2 name, 3 definition (JSON), 4 next planned time or '', 5 most schedules there may be
-- Reply: 'ok', 'exists' or 'full'
local name, key = ARGV[2], k_schedule(ARGV[2])
local known = call('HGET', key, 'definition')
if known then return known == ARGV[3] and 'ok' or 'exists' end
if call('ZCARD', k_schedules()) >= tonumber(ARGV[5]) then return 'full' end
call('HSET', key, 'definition', ARGV[3], 'status', 'active', 'next', ARGV[4])
call('ZADD', k_schedules(), ARGV[4] ~= '' and ARGV[4] or '+inf', name)
return 'ok'

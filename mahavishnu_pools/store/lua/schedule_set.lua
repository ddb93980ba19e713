-- Pauses or resumes a schedule. ARGV: 2 name, 3 status, 4 next planned time or '' (of a resume)
-- Reply: the status it had; nothing when there is none
local name, key = ARGV[2], k_schedule(ARGV[2])
local before = call('HGET', key, 'status')
if not before or before == ARGV[3] then return before end
call('HSET', key, 'status', ARGV[3])
if ARGV[3] == 'active' then call('HSET', key, 'next', ARGV[4]) end
call('ZADD', k_schedules(), ARGV[3] == 'active' and ARGV[4] ~= '' and ARGV[4] or '+inf', name)
return before

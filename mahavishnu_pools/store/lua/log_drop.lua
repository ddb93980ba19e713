-- Removes entries from the middle of a task's log. ARGV: 2 task, 3 '1' to mark the place, then entry ids, oldest first
local key = k_log(ARGV[2])
-- Lua hands over a limited number of arguments at once.
for from = 4, #ARGV, 1000 do call('XDEL', key, unpack(ARGV, from, math.min(from + 999, #ARGV))) end
-- A stream cannot be written in its middle: the mark is a field of the task, shown where the entries are missing.
if ARGV[3] == '1' and call('EXISTS', k_task(ARGV[2])) == 1 then call('HSET', k_task(ARGV[2]), 'log_cut', ARGV[4]) end
return 1

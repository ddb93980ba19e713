-- Appends pieces to a task's log. ARGV: 2 task, 3 lifetime in ms, then stream, text pairs. Reply: the entries' ids
local ids = {}
for i = 4, #ARGV, 2 do ids[#ids + 1] = call('XADD', k_log(ARGV[2]), '*', 's', ARGV[i], 't', ARGV[i + 1]) end
call('PEXPIRE', k_log(ARGV[2]), ARGV[3])
return ids

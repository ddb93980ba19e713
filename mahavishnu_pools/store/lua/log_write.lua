-- Appends lines to a task's log. ARGV: 2 task, 3 lifetime in ms, then stream, text pairs
for i = 4, #ARGV, 2 do call('XADD', k_log(ARGV[2]), 'MAXLEN', '~', '20000', '*', 's', ARGV[i], 't', ARGV[i + 1]) end
call('PEXPIRE', k_log(ARGV[2]), ARGV[3])
return 1

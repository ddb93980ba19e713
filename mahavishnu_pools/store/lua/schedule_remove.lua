-- Removes a schedule with its history; what it has sent goes on. ARGV: 2 name. Reply: 1 when there was one
even_when_full()
call('ZREM', k_schedules(), ARGV[2])
call('DEL', k_schedule_runs(ARGV[2]))
return call('DEL', k_schedule(ARGV[2]))

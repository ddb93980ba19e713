-- ARGV: 2 most. Reply: ids of tasks that wait for others, the newest first
return call('ZREVRANGE', k_waiting(), 0, tonumber(ARGV[2]) - 1)

-- ARGV: 2 most. Reply: ids of tasks that await approval, those that expire first
return call('ZRANGE', k_awaiting(), 0, tonumber(ARGV[2]) - 1)

-- Reply: ids of the last finished tasks of a pool, newest first. ARGV: 2 pool, 3 most
return call('LRANGE', k_recent(ARGV[2]), 0, tonumber(ARGV[3]) - 1)

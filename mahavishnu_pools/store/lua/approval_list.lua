-- ARGV: 2 most. Reply: how many tasks await approval, then of those that expire first the ids, each followed by when it expires
local reply = call('ZRANGE', k_awaiting(), 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
table.insert(reply, 1, call('ZCARD', k_awaiting()))
return reply

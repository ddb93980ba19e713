-- Reads records that a sink refused, behind one of them. What is too old goes first. ARGV: 2 sink, 3 entry, 4 most, 5 lifetime in ms
-- Reply: the entries
local key = k_set_aside(ARGV[2])
call('XTRIM', key, 'MINID', string.format('%.0f', math.max(0, clock() * 1000 - tonumber(ARGV[5]))))
return call('XRANGE', key, '(' .. ARGV[3], '+', 'COUNT', ARGV[4])

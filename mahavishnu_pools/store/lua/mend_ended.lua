-- Forgets that cancelled tasks have left messages in a pool. ARGV: 2 pool, then task ids. Reply: how many
local done = call('SREM', k_ended(ARGV[2]), unpack(ARGV, 3))
reindex(ARGV[2], false)
return done

-- Takes a sink for one deliverer, or keeps it. ARGV: 2 sink, 3 owner, 4 lifetime in ms. Reply: 1 or 0 (another one has it)
even_when_full()
local key = k_sink_lock(ARGV[2])
local holder = call('GET', key)
if holder and holder ~= ARGV[3] then return 0 end
call('SET', key, ARGV[3], 'PX', ARGV[4])
return 1

-- Gives a sink back. ARGV: 2 sink, 3 owner
if call('GET', k_sink_lock(ARGV[2])) == ARGV[3] then call('DEL', k_sink_lock(ARGV[2])) end
return 1

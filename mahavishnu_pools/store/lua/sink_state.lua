-- Reads the state of sinks. ARGV: 2.. sinks. Reply: number of the last outcome, time, then each sink's hash
local reply = { call('GET', k_outbox_count()) or '0', stamp(clock()) }
for i = 2, #ARGV do reply[#reply + 1] = call('HGETALL', k_sink(ARGV[i])) end
return reply

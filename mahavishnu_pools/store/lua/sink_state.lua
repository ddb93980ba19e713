-- Reads the state of sinks. ARGV: 2.. sinks
-- Reply: number of the last outcome, time, then for each sink its hash, its records set aside, and the number of the first entry behind its
-- cursor (-1: there is none)
local function first_behind(cursor)
  local found = redis.pcall('XRANGE', k_outbox(), '(' .. cursor, '+', 'COUNT', 1)
  local entry = not found.err and found[1]
  if not entry then return -1 end
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'n' then return tonumber(entry[2][i + 1]) end
  end
  return 0
end

local reply = { call('GET', k_outbox_count()) or '0', stamp(clock()) }
for i = 2, #ARGV do
  local key = k_sink(ARGV[i])
  reply[#reply + 1] = { call('HGETALL', key), call('XLEN', k_set_aside(ARGV[i])), first_behind(call('HGET', key, 'cursor') or '0-0') }
end
return reply

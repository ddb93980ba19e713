-- Takes outcomes of scheduled tasks into the history, some at a time, and tells what is due. ARGV: 2 most
-- Reply: now, then {definition, status, next} of each schedule whose time has come
local LOOKED_MOST = 100
local now = stamp(clock())

local open = call('HLEN', k_schedule_open()) > 0 and call('HRANDFIELD', k_schedule_open(), LOOKED_MOST, 'WITHVALUES') or {}
for i = 1, #open, 2 do
  local id, number, name = open[i], string.match(open[i + 1], '^(%d+) (.*)$')
  local status, text = call('HGET', k_task(id), 'status'), call('HGET', k_schedule_runs(name), number)
  if not text or not status or STAT[status] then
    call('HDEL', k_schedule_open(), id)
    if text then
      local run = cjson.decode(text)
      run.outcome = status or 'unknown'
      call('HSET', k_schedule_runs(name), number, cjson.encode(run))
    end
  end
end

local reply = { now }
for _, name in ipairs(call('ZRANGEBYSCORE', k_schedules(), '-inf', now, 'LIMIT', 0, ARGV[2])) do
  reply[#reply + 1] = call('HMGET', k_schedule(name), 'definition', 'status', 'next')
end
return reply

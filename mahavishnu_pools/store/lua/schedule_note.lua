-- Notes a run and moves a schedule on, if nobody did meanwhile. ARGV: 2 name, 3 next planned time as it was read (none: a run by
-- hand, which moves nothing), 4 the one after it or '', 5 run (JSON), 6 its task or ''
-- Reply: 1 when it was noted
local name, was, text, id = ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local key, RUNS_MOST = k_schedule(name), 100
local h = call('HMGET', key, 'next', 'status')
if not h[1] or (was ~= '' and h[1] ~= was) or (id ~= '' and call('HEXISTS', k_schedule_open(), id) == 1) then return 0 end
local runs, number = k_schedule_runs(name), next_turn()
call('HSET', runs, number, text)
if call('HLEN', runs) > RUNS_MOST then
  local oldest
  for _, one in ipairs(call('HKEYS', runs)) do
    if not oldest or tonumber(one) < tonumber(oldest) then oldest = one end
  end
  call('HDEL', runs, oldest)
end
if id ~= '' then call('HSET', k_schedule_open(), id, number .. ' ' .. name) end
if was ~= '' then
  call('HSET', key, 'next', ARGV[4])
  if h[2] == 'active' then call('ZADD', k_schedules(), ARGV[4] ~= '' and ARGV[4] or '+inf', name) end
end
local run = cjson.decode(text)
if run.outcome ~= 'sent' then
  local why = type(run.reason) == 'string' and string.sub(run.reason, 1, 300) or ''
  event('schedule_' .. run.outcome, '', '', 'schedule', name, 'reason', why)
end
return 1

-- No pool can be chosen for tasks that wait for nothing else: they are tried again later, or end. ARGV: 2 why, 3 seconds until then ('':
-- they fail), 4 result lifetime in ms, then tasks. Reply: how many
local why, done, now = ARGV[2], 0, clock()
even_when_full()
for i = 5, #ARGV do
  local id = ARGV[i]
  local h = call('HMGET', k_task(id), 'status', 'pool', 'waits')
  if h[1] == 'waiting' and h[3] == '0' then
    if ARGV[3] ~= '' then
      call('HSET', k_task(id), 'held_up', why)
      call('ZADD', k_ready(), stamp(now + ARGV[3]), id)
    else
      local meta = cjson.encode({ status = 'FAILURE', task_id = id, traceback = cjson.null,
        result = { exc_type = 'TaskFailed', exc_message = { why }, exc_module = 'mahavishnu_pools.errors' } })
      settle(id, h[2], { status = 'failed', outcome = cjson.encode({ status = 'failed', error = why }), meta = meta, ttl = ARGV[4] }, now)
    end
    done = done + 1
  end
end
return done

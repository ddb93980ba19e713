-- Has a task go on waiting, or go on, of which nobody would have told. ARGV: 2 task, 3 result lifetime in ms
-- Reply: 1, or 0 when it does not wait any more
local id, key, now, open = ARGV[2], k_task(ARGV[2]), clock(), 0
local h = call('HMGET', key, 'status', 'after', 'pool')
even_when_full()
if h[1] ~= 'waiting' then
  unwait(id)
  return 0
end
if call('EXISTS', k_held(id)) == 0 then
  local text = 'Its message was lost, and nothing was left to make it anew. Submit it again.'
  local meta = cjson.encode({ status = 'FAILURE', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskFailed', exc_message = { text }, exc_module = 'mahavishnu_pools.errors' } })
  settle(id, h[3], { status = 'failed', outcome = cjson.encode({ status = 'failed', error = text }), meta = meta, ttl = ARGV[3] }, now)
  return 1
end
for parent in string.gmatch(h[2] or '', '%S+') do
  if call('HGET', key, 'p:' .. parent) == '' then
    open = open + 1
    call('ZADD', k_children(parent), 'NX', next_turn(), id)
    local status = call('HGET', k_task(parent), 'status')
    if status and not STAT[status] then call('HSET', k_task(parent), 'children', '1') else end_parent(parent, status or 'unknown') end
  end
end
call('HSET', key, 'waits', open)
if open == 0 then
  call('ZADD', k_ready(), stamp(now), id)
  redis.pcall('PUBLISH', k_release(), '1')
end
return 1

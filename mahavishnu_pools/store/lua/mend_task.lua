-- Gives a task that lost its message a new one, if it is as it was when it was looked at. ARGV: 2 task, 3 what it was, 4 bucket, 5 and 6
-- message before and after the queue's name ('' when none can be made), 7 result lifetime in ms, 8 number of this repair
-- Reply: 'queued', 'failed' (no message can be made), 'dead' (its pool takes no tasks), 'ended' (it had been cancelled) or 'changed'
local id, key, now = ARGV[2], k_task(ARGV[2]), clock()
local h = call('HMGET', key, 'status', 'pool', 'claim', 'attempts', 'finished_by', 'retry_at', 'mended', 'cancel')
local cancel = table.remove(h)
for n = 1, 7 do h[n] = h[n] or '' end
if table.concat(h, '\n') ~= ARGV[3] then return 'changed' end
even_when_full()
local pool = h[2]

local function ended(status, text, class)
  local meta = cjson.encode({ status = 'FAILURE', task_id = id, traceback = cjson.null,
    result = { exc_type = class, exc_message = { text }, exc_module = 'mahavishnu_pools.errors' } })
  settle(id, pool, { status = status, outcome = cjson.encode({ status = status, error = text }), meta = meta, ttl = ARGV[7] }, now)
  call('HSET', key, 'mended', ARGV[8])
end

if cancel then
  ended('cancelled', cancel, 'TaskCancelled')
  return 'ended'
end
if ARGV[5] == '' then
  ended('failed', 'Its message was lost, and nothing was left to make it anew. Submit it again.', 'TaskFailed')
  return 'failed'
end
if not takes(pool) then
  local text = 'Its message was lost, and its pool takes no tasks any more.'
  ended('dead', text, 'TaskDead')
  dead_letter(id, pool, text, ARGV[5] .. 'pool.' .. pool .. ARGV[6], now)
  return 'dead'
end
call('HSET', key, 'status', 'queued', 'mended', ARGV[8])
call('HDEL', key, 'claim', 'worker', 'started', 'retry_at')
push(pool, ARGV[4], ARGV[5], ARGV[6])
reindex(pool, false)
ring(pool)
return 'queued'

-- Asks for the end of a task. ARGV: 2 task, 3 result lifetime in ms, 4 reason
-- Reply: 'cancelled' (it never ran), 'asked' (it is running), the outcome's status when there is one, or 'unknown'
even_when_full()
local id, key = ARGV[2], k_task(ARGV[2])
local h = call('HMGET', key, 'status', 'pool', 'claim')
if not h[1] then return 'unknown' end
if STAT[h[1]] then return h[1] end
local pool = h[2]
if h[1] == 'running' and h[3] then
  call('HSET', key, 'cancel', ARGV[4])
  local lease = string.match(h[3], '^(.*):%d+$')
  call('SADD', k_cancels(lease), id)
  ring(pool)
  return 'asked'
end
local outcome = cjson.encode({ status = 'cancelled', error = ARGV[4] })
local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
  result = { exc_type = 'TaskRevokedError', exc_message = { ARGV[4] }, exc_module = 'celery.exceptions' } })
settle(id, pool, { status = 'cancelled', outcome = outcome, meta = meta, ttl = ARGV[3] }, clock())
reindex(pool, false)
ring(pool)
return 'cancelled'

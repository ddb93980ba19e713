-- Ends one claim: with the task's outcome, with a retry, or by handing it back. Fenced by the claim.
-- ARGV: 2 lease, 3 claim, 4 task, 5 pool, 6 action (outcome | retry | handback | release), 7 status, 8 outcome JSON, 9 Celery
-- meta JSON, 10 result lifetime in ms, 11 seconds until the retry. Of a release 7 and 8 are for a task that does not run again here
-- Reply: 'ok', 'again' (this claim had finished already) or 'fenced' (somebody else has the task now)
local lease, claim, id, pool, action = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local value = call('HGET', k_claims(lease), claim)
local own = lease .. ':' .. claim
-- After a fail-over that lost writes a number may have been given out again, for another task.
if not value or string.match(value, '^([^\n]*)\n') ~= id then
  if call('HGET', k_task(id), 'finished_by') == own then return 'again' end
  return 'fenced'
end
even_when_full()
call('HDEL', k_claims(lease), claim)
call('SREM', k_cancels(lease), id)
local now = clock()
local bucket, from = string.match(value, '^[^\n]*\n(%d+)\n()')
local message = string.sub(value, from)
local key = k_task(id)
if STAT[call('HGET', key, 'status') or ''] then
  -- There is one outcome, whoever else ran it.
  reindex(pool, false)
  return 'fenced'
end
call('HSET', key, 'finished_by', own)
if action ~= 'release' then call('HDEL', key, 'again') end
local cancelled = (action == 'retry' or action == 'handback') and call('HGET', key, 'cancel')
if cancelled then
  -- It was to run again, and somebody asked for its end meanwhile.
  local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskRevokedError', exc_message = { cancelled }, exc_module = 'celery.exceptions' } })
  local outcome = cjson.encode({ status = 'cancelled', error = cancelled })
  settle(id, pool, { status = 'cancelled', outcome = outcome, meta = meta, ttl = ARGV[10] }, now)
  untold(pool, message, ARGV[10])
elseif action == 'outcome' then
  settle(id, pool, { status = ARGV[7], outcome = ARGV[8], meta = ARGV[9], ttl = ARGV[10] }, now)
  if ARGV[7] == 'dead' then dead_letter(id, pool, cjson.decode(ARGV[8]).error or 'It was given up.', message, now) end
elseif action == 'retry' then
  local due = now + tonumber(ARGV[11])
  call('HINCRBY', key, 'retries', 1)
  call('HSET', key, 'status', 'retrying', 'retry_at', stamp(due), 'outcome', ARGV[8])
  call('HDEL', key, 'claim', 'suspect')
  call('ZADD', k_delayed(pool), stamp(due), id .. '\n' .. bucket .. '\n' .. message)
  ring(pool)
elseif action == 'handback' then
  call('HINCRBY', key, 'attempts', -1)
  call('HSET', key, 'status', 'queued')
  call('HDEL', key, 'claim', 'worker', 'started')
  give_back(pool, id, bucket, message)
  ring(pool)
elseif action == 'release' then
  local h = call('HMGET', key, 'status', 'claim', 'again', 'cancel')
  local due, target = string.match(h[3] or '', '^(%S+) (.+)$')
  if h[1] ~= 'running' or h[2] ~= own then
    due = nil -- it has its outcome already, or another attempt has it
  elseif h[4] then
    local text = h[4]
    local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
      result = { exc_type = 'TaskRevokedError', exc_message = { text }, exc_module = 'celery.exceptions' } })
    settle(id, pool, { status = 'cancelled', outcome = cjson.encode({ status = 'cancelled', error = text }), meta = meta, ttl = ARGV[10] }, now)
    untold(pool, message, ARGV[10])
  elseif due and call('EXISTS', k_pool(target)) == 1 then
    call('HSET', key, 'status', 'retrying', 'retry_at', due, 'pool', target)
    call('HDEL', key, 'claim', 'suspect')
    call('ZADD', k_delayed(target), due, value)
    reindex(target, false)
    ring(target)
  elseif due then
    local text = 'It was to run again in the pool ' .. target .. ', which was closed meanwhile.'
    local meta = cjson.encode({ status = 'FAILURE', task_id = id, traceback = cjson.null,
      result = { exc_type = 'TaskDead', exc_message = { text }, exc_module = 'mahavishnu_pools.errors' } })
    settle(id, pool, { status = 'dead', outcome = cjson.encode({ status = 'dead', error = text }), meta = meta, ttl = ARGV[10] }, now)
    dead_letter(id, target, text, message, now)
    untold(pool, message, ARGV[10])
  else
    settle(id, pool, { status = ARGV[7], outcome = ARGV[8], meta = '', ttl = ARGV[10] }, now)
  end
end
reindex(pool, false)
return 'ok'

-- Ends waiting tasks of a pool as cancelled, at most N a call. ARGV: 2 pool, 3 most, 4 result lifetime in ms, 5 reason
-- Reply: how many messages left the pool, and how many of their tasks had no outcome yet; repeat until none leave
local pool, most, ttl, reason = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local now, done, cancelled, bytes, BYTES = clock(), 0, 0, 0, 4 * 1024 * 1024
even_when_full()
local function more() return done < most and bytes < BYTES end
local function finish(message)
  done, bytes = done + 1, bytes + #message
  local good, m = pcall(cjson.decode, message)
  local id = good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
  if type(id) ~= 'string' then return dead_letter('unreadable-' .. next_turn(), pool, 'the message cannot be read', message, now) end
  local status = call('HGET', k_task(id), 'status')
  local ended = call('SREM', k_ended(pool), id) == 1
  if ended or not STAT[status or ''] then untold(pool, message, ttl) end
  if ended or STAT[status or ''] then return end
  cancelled = cancelled + 1
  local outcome = cjson.encode({ status = 'cancelled', error = reason })
  local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskRevokedError', exc_message = { reason }, exc_module = 'celery.exceptions' } })
  settle(id, pool, { status = 'cancelled', outcome = outcome, meta = meta, ttl = ttl }, now)
end
for b = 0, BUCKETS - 1 do
  while more() do
    local message = call('LINDEX', bucket_key(pool, b), -1)
    if not message then break end
    finish(message)
    call('RPOP', bucket_key(pool, b))
  end
end
local function message_of(value)
  return string.sub(value, (string.find(value, '\n', (string.find(value, '\n', 1, true)) + 1, true)) + 1)
end
while more() do
  local value = call('LINDEX', k_suspects(pool), -1)
  if not value then break end
  finish(message_of(value))
  call('RPOP', k_suspects(pool))
end
for _, member in ipairs(more() and call('ZRANGE', k_delayed(pool), 0, most - done - 1) or {}) do
  if not more() then break end
  finish(message_of(member))
  call('ZREM', k_delayed(pool), member)
end
reindex(pool, false)
return { done, cancelled }

-- Takes the claims of a dead lease back, at most N a call. ARGV: 2 lease, 3 most, 4 result lifetime in ms,
-- 5 'loss' when a task surely caused the death, 'kill' when one may have, 'node' when the agent, node or an operator did.
-- Who ran alone is to blame for a loss or kill, and is given up after three. Of several, each is a suspect after a loss or the second
-- kill: it waits apart and runs alone.
-- Reply: requeued, failed, dead, left
local lease, most, ttl, cause = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local now = clock()
even_when_full()
call('DEL', k_lease(lease))
local about = call('HGET', k_leases(), lease)
if not about then return { 0, 0, 0, 0 } end
local pool = cjson.decode(about).pool
local total = call('HLEN', k_claims(lease))
local reaped = call('HGET', k_reply(lease), 'held')
if not reaped then
  reaped = total
  call('HSET', k_reply(lease), 'held', total)
end
local alone = tonumber(reaped) == 1
local requeued, failed, dead = 0, 0, 0

local function sentence(status, text) return cjson.encode({ status = status, error = text }) end

local function meta(id, class, text)
  return cjson.encode({ status = 'FAILURE', task_id = id, traceback = cjson.null,
    result = { exc_type = class, exc_message = { text }, exc_module = 'mahavishnu_pools.errors' } })
end

-- Oldest claims last, so that they end up at the very front of their buckets.
local numbers = call('HKEYS', k_claims(lease))
table.sort(numbers, function(a, b) return tonumber(a) > tonumber(b) end)
for i = 1, math.min(most, #numbers) do
  local n = numbers[i]
  local value = call('HGET', k_claims(lease), n)
  call('HDEL', k_claims(lease), n)
  local id, bucket, from = string.match(value, '^([^\n]*)\n(%d+)\n()')
  local message, key = string.sub(value, from), k_task(id)
  local h = call('HMGET', key, 'status', 'lost', 'cancel', 'losses', 'got')
  local losses = tonumber(h[4] or 0)
  if h[5] then
    needs_kit().take_back(lease .. ':' .. n, h[5])
    if not STAT[h[1] or ''] then call('HDEL', key, 'got') end
  end
  if cause ~= 'node' and alone then
    losses = call('HINCRBY', key, 'losses', 1)
  elseif cause == 'loss' or (cause == 'kill' and call('HINCRBY', key, 'kills', 1) >= 2) then
    call('HSET', key, 'suspect', '1')
  end
  if h[3] then
    local text = 'It was cancelled, and its worker was lost before it could say so.'
    settle(id, pool, { status = 'cancelled', outcome = sentence('cancelled', text), meta = meta(id, 'TaskCancelled', text), ttl = ttl }, now)
  elseif h[2] == 'fail' then
    local text = 'Its worker was lost, and on_worker_lost is fail.'
    settle(id, pool, { status = 'failed', outcome = sentence('failed', text), meta = meta(id, 'TaskFailed', text), ttl = ttl }, now)
    failed = failed + 1
  elseif losses >= 3 then
    local text = 'It was given up: its worker was lost three times while running nothing else.'
    settle(id, pool, { status = 'dead', outcome = sentence('dead', text), meta = meta(id, 'TaskDead', text), ttl = ttl }, now)
    dead_letter(id, pool, text, message, now)
    dead = dead + 1
  elseif not STAT[h[1] or ''] then
    call('HSET', key, 'status', 'queued')
    call('HDEL', key, 'claim', 'worker', 'started')
    give_back(pool, id, bucket, message)
    requeued = requeued + 1
  end
  if not STAT[h[1] or ''] and STAT[call('HGET', key, 'status')] then untold(pool, message, ttl) end
end
local left = call('HLEN', k_claims(lease))
if left == 0 then
  call('DEL', k_claims(lease), k_reply(lease), k_cancels(lease))
  call('HDEL', k_leases(), lease)
  call('SREM', k_pool_leases(pool), lease)
end
if call('EXISTS', k_pool(pool)) == 1 then
  if requeued > 0 then call('HINCRBY', k_figures(pool), 'l\n' .. cause, requeued) end
  -- A group that ended in order holds nothing.
  if left == 0 and (cause ~= 'node' or tonumber(reaped) > 0) then
    call('HINCRBY', k_figures(pool), 'g\n' .. cause, 1)
    event('group_lost', pool, call('HGET', k_pool(pool), 'name') or '', 'node', cjson.decode(about).node or '', 'cause', cause, 'held', reaped)
  end
  reindex(pool, false)
  ring(pool)
end
return { requeued, failed, dead, left }

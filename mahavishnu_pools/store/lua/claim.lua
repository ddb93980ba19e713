-- Moves up to N messages of a pool into a lease. Repeating a request id returns the same claims again.
-- ARGV: 2 lease, 3 pool, 4 most, 5 request id, 6 worker node name, 7 result lifetime in ms, 8 '1' to
-- take a suspect, which runs alone, and nothing else, 9 worker type of the group or '', 10 how many workers are free: what is claimed
-- beyond waits for one
-- Reply: 'lost' when the lease was reaped, 'late' when its time ran out and nobody has reaped it (it may be refreshed), else
-- 'ok', bell id, next due ('' if none), pool status ('handback': drained, and its time is over), wanted workers, {task ids to
-- cancel}, 1 when there may be more, seconds until the next due, 1 when Celery is to be told of tasks, {claim, attempt, task id, message, retries so far, what it got of the node (JSON or '')}…
local lease, pool, most, request, worker, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local alone, own_type, free = ARGV[8] == '1', ARGV[9], tonumber(ARGV[10])
if call('HEXISTS', k_leases(), lease) == 0 then return { 'lost' } end
if call('EXISTS', k_lease(lease)) == 0 then return { 'late' } end
local now = clock()

local function days(y, m, d) -- days since 1970-01-01 of a civil date (proleptic Gregorian calendar)
  if m <= 2 then y = y - 1 end
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (m + (m > 2 and -3 or 9)) + 2) / 5) + d - 1
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function epoch(text) -- ISO 8601 as Celery writes it; nil when it cannot be read
  if type(text) ~= 'string' then return nil end
  local y, mo, d, h, mi, s, rest = string.match(text, '^(%d+)-(%d+)-(%d+)[T ](%d+):(%d+):(%d+%.?%d*)(.*)$')
  if not y then return nil end
  local t = days(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + tonumber(h) * 3600 + tonumber(mi) * 60 + tonumber(s)
  local sign, oh, om = string.match(rest, '^([+-])(%d%d):?(%d%d)$')
  if sign then t = t - (sign == '+' and 1 or -1) * (tonumber(oh) * 3600 + tonumber(om) * 60) end
  return t
end

local function value_of(task, bucket, message) return task .. '\n' .. bucket .. '\n' .. message end

local function split(value)
  local task, bucket, from = string.match(value, '^([^\n]*)\n(%d+)\n()')
  return task, bucket, string.sub(value, from)
end

-- Messages of tasks that have their outcome are dropped on the way; so many are looked at in one call at most.
local LOOKED_MOST, looked, wanted = 500, 0, most
-- Bytes of one call: a large message is not copied by the hundred, but one is always taken.
local BYTES_MOST, bytes = 4 * 1024 * 1024, 0
local function more() return looked < LOOKED_MOST and bytes < BYTES_MOST end

-- A pool that is drained starts nothing, unless it works off what waits. After its deadline what still runs is handed back.
local function drained()
  local p = call('HMGET', k_pool(pool), 'drain_until', 'works_off')
  local deadline = tonumber(p[1])
  local over = deadline and now >= deadline
  return over or not p[2], over, deadline
end

-- Whether the next message is left in the queue although more are wanted: it must not wait for a worker of this group.
local stays = false

-- Until when prompts that are left in the queue cannot start on this node, where their program is not logged in: other nodes may take
-- them. So many are passed by in one call at most, in favour of what is behind them.
local elsewhere
local PASSED_MOST, passed = 50, 0

-- Whether nothing was wanted for want of a free worker alone, so that the next one is a cause to ask again.
local all_busy = false

-- Our own task, in contrast to users' Celery tasks.
local RUN_TASK = 'mahavishnu.run_task'

-- When the pool's rate limit lets the next task start, if it holds any back.
local token_at

-- Whether the group of suspects has one that waits for what it needs of the node.
local waits_alone = false

local function reply_with(claims)
  local p = call('HMGET', k_pool(pool), 'status', 'workers', 'config')
  local last = call('XREVRANGE', k_bell(pool), '+', '-', 'COUNT', 1)
  local due = alone and {} or call('ZRANGE', k_delayed(pool), 0, 0, 'WITHSCORES')
  -- What is due already waits for a free worker, or for the end of a pause, not for its time; what is parked has none.
  if due[2] and (tonumber(due[2]) <= now or tonumber(due[2]) >= PARKED) then due[2] = nil end
  if waits_alone then due[2] = stamp(now + 1) end
  if token_at and not alone and messages_of(pool) > 0 then due[2] = stamp(math.min(token_at, tonumber(due[2]) or token_at)) end
  if elsewhere then due[2] = stamp(math.min(elsewhere, tonumber(due[2]) or elsewhere)) end
  if p[1] == 'draining' then
    local _, over, deadline = drained()
    if over then p[1] = 'handback' elseif deadline and not alone then due[2] = stamp(math.min(deadline, tonumber(due[2]) or deadline)) end
  end
  local reply = { 'ok', last[1] and last[1][1] or '0-0', due[2] or '', p[1] or 'stopped', tonumber(p[2] or 0), call('SMEMBERS', k_cancels(lease)),
    (all_busy or wanted > 0 and (#claims == wanted or stays or not more())) and 1 or 0,
    due[2] and stamp(tonumber(due[2]) - now) or '', call('EXISTS', k_untold(app_in(p[3]))) }
  for _, claim in ipairs(claims) do reply[#reply + 1] = claim end
  return reply
end

local last = call('HMGET', k_reply(lease), 'request', 'claims')
if last[1] == request then
  local claims = {}
  for n in string.gmatch(last[2], '%d+') do
    local value = call('HGET', k_claims(lease), n)
    if value then
      local task, _, message = split(value)
      local h = call('HMGET', k_task(task), 'attempts', 'retries', 'got')
      claims[#claims + 1] = { n, h[1] or '1', task, message, h[2] or '0', h[3] or '' }
    end
  end
  return reply_with(claims)
end

local p = call('HMGET', k_pool(pool), 'status', 'rate', 'tokens', 'tokens_at', 'parked')
local status, rate = p[1], tonumber(p[2])
if status == 'paused' or status == 'stopped' or (status == 'draining' and (drained())) then most = 0 end

-- A rate limit is a bucket of tokens, one a start, that holds those of a second and at least one.
local tokens
if rate and most > 0 then
  local full, since = math.max(1, math.ceil(rate)), now - (tonumber(p[4]) or now)
  tokens = since >= 0 and math.min(full, (tonumber(p[3]) or full) + since * rate) or full -- before 0: the clock was put back
  all_busy = free == 0 and tokens >= 1
  wanted = math.min(wanted, free) -- nothing waits with its token spent
  most = math.min(most, free, math.floor(tokens))
end

-- Worker types whose provider answered "too many requests", and those that are not logged in on this node, by the time they cool down
-- until; and which of them rest on this node alone.
local cooling, only_here = nil, {}
if most > 0 then
  local all, node = call('HGETALL', k_cooldowns()), nil
  for i = 1, #all, 2 do
    local ends = cjson.decode(all[i + 1]).ends
    if ends > now then
      local kind, where = string.match(all[i], '^([^\n]*)\n?(.*)$')
      node = node or cjson.decode(call('HGET', k_leases(), lease)).node
      if where == '' or where == node then
        cooling = cooling or {}
        only_here[kind] = where ~= '' and (only_here[kind] or not cooling[kind])
        cooling[kind] = math.max(ends, cooling[kind] or 0)
      end
    end
  end
end

-- Whether another node has a worker group of the pool that may run a prompt whose worker type is not logged in here.
local elsewhere_too = {}
local function runs_elsewhere(kind)
  if elsewhere_too[kind] == nil then
    elsewhere_too[kind] = false
    local groups, node = groups_of(pool), cjson.decode(call('HGET', k_leases(), lease)).node
    for i = 1, #groups, 2 do
      local group = groups[i] ~= node and cjson.decode(groups[i + 1])
      local rests = group and call('HGET', k_cooldowns(), kind .. '\n' .. groups[i])
      if group and group.status == 'ready' and not (rests and cjson.decode(rests).ends > now) then elsewhere_too[kind] = true end
    end
  end
  return elsewhere_too[kind]
end

-- Until when a prompt has to wait for its worker type, if it has to.
local function cools_until(key)
  local h = call('HMGET', key, 'type', 'spec')
  if h[1] ~= 'prompt' then return nil end
  local good, spec = pcall(cjson.decode, h[2] or '')
  local named = good and type(spec) == 'table' and type(spec.worker_type) == 'string' and spec.worker_type
  local kind = named or own_type
  return cooling[kind], only_here[kind] and kind
end

-- What is due comes first in its bucket.
if most > 0 and not alone then
  local due = call('ZRANGEBYSCORE', k_delayed(pool), '-inf', stamp(now), 'LIMIT', 0, most)
  for i = #due, 1, -1 do
    call('ZREM', k_delayed(pool), due[i])
    local _, bucket, message = split(due[i])
    call('RPUSH', bucket_key(pool, bucket), message)
  end
end

local claims, numbers, moved = {}, {}, false
-- Claims of the system's own periodic work, which is no task of the pool: who counts tasks leaves them out.
local periodic = {}
-- The number of the last claim; numbers are set aside for all of this call at once, unused ones are left out.
local number
-- First starts by bucket of their wait, and their seconds in all.
local waits, wait_sum = {}, 0

-- What is about needs; made when the first task has some, or some are parked.
local kit
local function with_needs()
  if kit then return kit end
  kit = needs_kit()
  -- What the node has. false: the pool's tasks run in a cluster, which sees to it.
  local stock

  -- Whether a task can have what it needs now; if not, the node may begin to keep it for it.
  function kit.can_start(id, text)
    local needs = cjson.decode(text)
    if stock == nil then
      local c = cjson.decode(call('HGET', k_pool(pool), 'config') or '{}')
      local jobs = c.pool_type == 'kubernetes' and not (type(c.kubernetes) == 'table' and c.kubernetes.mode == 'deployment')
      stock = not jobs and kit.stock_of(cjson.decode(call('HGET', k_leases(), lease)).node)
    end
    if not stock or kit.fits(stock, pool, text, needs) then return true end
    kit.keep_for(stock, id, pool, text, needs, now)
    return false
  end

  -- Gives a claim what its task needs, and returns it as JSON.
  function kit.grant(id, number, text) return stock and kit.give(stock, pool, id, lease .. ':' .. number, text) or '' end

  -- Whether there is nothing for a task to wait for: it can start, needs nothing, has its outcome or waits no longer.
  function kit.is_ready(id)
    local h = call('HMGET', k_task(id), 'needs', 'status', 'expires_at')
    return not h[1] or STAT[h[2] or ''] or (h[3] and tonumber(h[3]) <= now) or kit.can_start(id, h[1])
  end

  -- Takes what can start now of what is parked in a bucket, in the order of their turns.
  function kit.take_parked(bucket, take)
    local heads = kit.parked_heads(pool, bucket, now)
    while #heads > 0 and #claims < most and more() do
      local at = 1
      for i, head in ipairs(heads) do
        if head.turn < heads[at].turn then at = i end
      end
      local head = table.remove(heads, at)
      if kit.is_ready(head.id) then
        -- Nothing is read ahead past one that has no worker.
        if #claims >= free then
          stays = true
          return
        end
        call('ZREM', k_delayed(pool), head.value)
        take(head.bucket, head.message)
        heads[#heads + 1] = kit.parked_head(pool, kit.class_start(bucket, head.class), kit.class_start(bucket, head.class + 1))
      end
    end
  end
  return kit
end

-- Claims a message, or does what else is to be done with it; LEFT: it stays in the queue, for others.
local LEFT = 'left'
local function take(bucket, message, may_stay)
  looked, bytes = looked + 1, bytes + #message
  local good, m = pcall(cjson.decode, message)
  local headers = good and type(m) == 'table' and m.headers
  local id = type(headers) == 'table' and headers.id
  if type(id) ~= 'string' or string.find(id, '\n', 1, true) or type(headers.task) ~= 'string' or type(m.properties) ~= 'table' then
    dead_letter('unreadable-' .. next_turn(), pool, 'the message cannot be read', message, now)
    moved = true
    return
  end
  local key = k_task(id)
  local h = call('HMGET', key, 'status', 'expires_at', 'retries', 'claim', 'created', 'finished_by', 'attempts',
    'retry_at', 'again', 'needs', 'lost')
  if #claims >= free and (headers.task ~= RUN_TASK or h[10] or h[11]) then
    stays = true
    return
  end
  if not h[1] then
    moved = true
    if call('SREM', k_ended(pool), id) == 1 then return untold(pool, message, ttl) end -- cancelled so long ago that its record has expired
    call('HSET', key, 'status', 'queued', 'pool', pool, 'type', 'celery:' .. headers.task, 'created', stamp(now),
      'bucket', bucket, 'attempts', '0')
  elseif STAT[h[1]] then
    moved = true -- it has its outcome already (cancelled while queued, or a copy)
    if call('SREM', k_ended(pool), id) == 1 then untold(pool, message, ttl) end
    return
  elseif h[1] == 'awaiting_approval' or h[1] == 'waiting' then
    moved = true -- somebody else's message: its own is kept apart
    return
  elseif h[1] == 'running' and h[4] then
    -- A copy of a message that is being run (a stock producer sent it again after a lost reply).
    local holder, number = string.match(h[4], '^(.*):(%d+)$')
    if holder and call('HEXISTS', k_claims(holder), number) == 1 then
      moved = true
      return
    end
  end
  local expires = tonumber(h[2]) or epoch(headers.expires)
  -- A member of a group or chord is left to Celery, which looks at the time too and tells the chord.
  local grouped = type(headers.group) == 'string'
  if expires and expires <= now and not grouped then
    local outcome = cjson.encode({ status = 'cancelled', error = 'It waited in the queue longer than its limit (expires).' })
    local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
      result = { exc_type = 'TaskRevokedError', exc_message = { 'expired' }, exc_module = 'celery.exceptions' } })
    settle(id, pool, { status = 'cancelled', outcome = outcome, meta = meta, ttl = ttl }, now)
    moved = true
    return
  end
  local eta = epoch(headers.eta)
  if eta and eta > now then
    call('ZADD', k_delayed(pool), stamp(eta), value_of(id, bucket, message))
    return
  end
  local cool, here
  if cooling then cool, here = cools_until(key) end
  if cool and here and may_stay and not h[10] and runs_elsewhere(here) then
    -- It brings this call no further: nobody is told that there may be more. Large ones count as many.
    looked, bytes, passed = looked - 1, bytes - #message, passed + 1 + PASSED_MOST * #message / BYTES_MOST
    elsewhere = math.min(elsewhere or cool, cool)
    return LEFT
  end
  if cool then
    call('ZADD', k_delayed(pool), stamp(cool + looked / 1000000), value_of(id, bucket, message)) -- in the order of the queue
    return
  end
  if h[10] and not with_needs().can_start(id, h[10]) then return kit.park(pool, id, bucket, message, h[10]) end
  number = (number or call('HINCRBY', k_reply(lease), 'counter', most) - most) + 1
  local attempt = (tonumber(h[7]) or 0) + 1
  call('HSET', k_claims(lease), number, value_of(id, bucket, message))
  call('HSET', key, 'status', 'running', 'pool', pool, 'worker', worker, 'claim', lease .. ':' .. number, 'started', stamp(now),
    'attempts', string.format('%d', attempt))
  if h[8] or h[9] then call('HDEL', key, 'retry_at', 'again') end
  if attempt == 1 and h[5] and not h[6] then
    local waited = math.max(0, now - math.max(tonumber(h[5]), eta or 0))
    local edge = edge_of(waited)
    waits[edge], wait_sum = (waits[edge] or 0) + 1, wait_sum + waited
  end
  numbers[#numbers + 1] = number
  if headers.task ~= RUN_TASK and string.find(headers.task, '^mahavishnu%.periodic%.') then periodic[#periodic + 1] = number end
  local got = h[10] and kit.grant(id, number, h[10]) or ''
  claims[#claims + 1] = { tostring(number), tostring(attempt), id, message, h[3] or '0', got }
end

if alone then
  most = math.min(most, 1 - call('HLEN', k_claims(lease)))
  while #claims < most and more() do
    local value = call('LINDEX', k_suspects(pool), -1)
    if not value then break end
    local id, bucket, message = split(value)
    if not with_needs().is_ready(id) then
      call('HSETNX', k_task(id), 'parked_at', stamp(now))
      waits_alone = true
      break
    end
    take(bucket, message)
    call('RPOP', k_suspects(pool))
  end
  most = 0
end
-- Nearly always few of the buckets have messages.
local lists = buckets_of(pool)
local filled = most > 0 and call('EXISTS', unpack(lists)) or 0
for b = 0, BUCKETS - 1 do
  if filled == 0 and not p[5] then break end
  if p[5] and #claims < most then with_needs().take_parked(b, take) end
  local list, read, left, gone = lists[b + 1], 0, 0, {}
  while not stays and #claims < most and more() and passed < PASSED_MOST do
    -- Read, understand and record first; the messages leave the queue in the same script.
    local message = call('LINDEX', list, -1 - read)
    if not message then break end
    local is_left = take(b, message, not alone) == LEFT
    if stays then break end
    read = read + 1
    if is_left then left = left + 1 else gone[#gone + 1] = message end
  end
  if stays then most = #claims end
  if read > 0 then
    filled = filled - 1
    if left == 0 then
      call('LTRIM', list, 0, -1 - read)
    else
      for _, message in ipairs(gone) do call('LREM', list, -1, message) end
    end
  end
end
-- Periodic work is no pool's: who has a free worker takes it. While nobody had one it may have piled up; old ones are worthless.
most = math.min(most, free)
if #claims < most and call('LLEN', k_periodic()) > 0 then
  call('LTRIM', k_periodic(), 0, 19)
  while #claims < most do
    local message = call('LINDEX', k_periodic(), -1)
    if not message then break end
    take(0, message)
    call('RPOP', k_periodic())
  end
end
if p[5] and most > 0 and call('ZCOUNT', k_delayed(pool), string.format('%.0f', PARKED), '+inf') == 0 then
  call('HDEL', k_pool(pool), 'parked')
  call('SREM', k_needing(), pool)
end
-- A claim that brought nothing leaves no trace: idle groups do not write.
if #numbers > 0 then
  if tokens then call('HSET', k_pool(pool), 'tokens', stamp(tokens - #numbers), 'tokens_at', stamp(now)) end
  call('HSET', k_reply(lease), 'request', request, 'claims', table.concat(numbers, ','))
  if #periodic > 0 then
    for n in string.gmatch(call('HGET', k_reply(lease), 'periodic') or '', '%d+') do
      if call('HEXISTS', k_claims(lease), n) == 1 then periodic[#periodic + 1] = n end
    end
    call('HSET', k_reply(lease), 'periodic', table.concat(periodic, ','))
  end
  for edge, number in pairs(waits) do call('HINCRBY', k_figures(pool), 'w\n' .. edge, number) end
  if next(waits) then call('HINCRBYFLOAT', k_figures(pool), 'wait_sum', stamp(wait_sum)) end
end
if tokens then
  tokens = tokens - #numbers
  if tokens < 1 then token_at, wanted = now + (1 - tokens) / rate, 0 end
end
if moved then
  if messages_of(pool) == 0 then call('DEL', k_ended(pool)) end
  reindex(pool, false)
end
return reply_with(claims)

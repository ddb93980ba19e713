-- Ends claims of one lease: each with its task's outcome, with a retry, or by handing it back. Fenced by the claim.
-- ARGV: 2 lease, 3 pool, 4 result lifetime in ms, then 8 for each claim: claim, task, action (outcome | retry | handback | release),
-- status, outcome JSON, Celery meta JSON, seconds until the retry, or of an outcome '' or those from when it was asked for until it began
-- and those it ran, and what the run told besides, as JSON or '': {type: task type, usage: {input, output, usd}, cool: {worker, why,
-- seconds or nil, here or nil: it is this node that has no login}}. Of a release status and outcome are for a task that does not run again here.
-- Reply, for each: 'ok', 'again' (this claim had finished already) or 'fenced' (somebody else has the task now)
local lease, pool, ttl = ARGV[2], ARGV[3], ARGV[4]
local FIRST, EACH = 5, 8
even_when_full()
local now = clock()

-- Seconds that a worker type cools down: the first time, where it is not logged in, and the most that doubling leads to.
local COOL_FIRST, COOL_LOGIN, COOL_MOST = 10, 30, 900

-- The node whose login failed; nil where programs run somewhere else with logins of their own.
local function node_here()
  local h = call('HMGET', k_pool(pool), 'type', 'config')
  local c = h[1] == 'kubernetes' and cjson.decode(h[2] or '{}').kubernetes
  if h[1] == 'session-buddy' or h[1] == 'mahavishnu-remote' or (c and c.mode ~= 'deployment') then return nil end
  local about = call('HGET', k_leases(), lease)
  return about and cjson.decode(about).node
end

-- No prompt starts with this worker type, in any pool (on this node, when it is not logged in there), for a while; longer each time,
-- when it happens again at once.
local function cool_down(c)
  local node = c.here and node_here()
  if c.here and not node then return nil end
  local field = node and c.worker .. '\n' .. node or c.worker
  local old = call('HGET', k_cooldowns(), field)
  local e = old and cjson.decode(old)
  if e and e.ends > now and not (c.seconds and now + c.seconds > e.ends) then return e.ends end
  local again = e and now < e.ends + e.length
  local length = c.seconds or again and math.min(COOL_MOST, 2 * e.length) or node and COOL_LOGIN or COOL_FIRST
  local name = call('HGET', k_pool(pool), 'name') or pool
  local ends = math.floor((now + length) * 1000) / 1000 -- JSON keeps 14 digits
  if e and e.ends <= now and not e.noted then
    event('cool_down_ended', e.id or '', e.pool, 'worker_type', c.worker, 'ends', stamp(e.ends), 'reason', 'its time is over', unpack(node and { 'node', node } or {}))
  end
  call('HSET', k_cooldowns(), field, cjson.encode({ ends = ends, length = length, why = c.why, pool = name, id = pool }))
  event('cool_down', pool, name, 'worker_type', c.worker, 'ends', stamp(ends), 'reason', c.why or '', unpack(node and { 'node', node } or {}))
  call('PEXPIRE', k_cooldowns(), math.max(call('PTTL', k_cooldowns()), math.ceil(length * 2000)))
  return ends
end

local USAGE_TTL = 400 * 86400000

-- Counts what a run used, and pauses the pool when its budget is spent.
local function used(kind, u)
  local about = call('HMGET', k_pool(pool), 'name', 'config', 'paid_for', 'status')
  local day = math.floor(now / 86400)
  local usage = k_usage(tostring(day))
  if call('HGET', k_spent(pool), 'day') ~= tostring(day) then
    -- What other days cost is in the usage: here only today and the life count.
    for _, field in ipairs(call('HKEYS', k_spent(pool))) do
      if not string.find(field, '^life ') and not string.find(field, '^' .. day .. ' ') then call('HDEL', k_spent(pool), field) end
    end
    call('HSET', k_spent(pool), 'day', day)
  end
  local function add(what, number)
    if number <= 0 then return end
    call('HINCRBYFLOAT', usage, (about[1] or pool) .. '\n' .. kind .. '\n' .. what, string.format('%.9g', number))
    call('HINCRBYFLOAT', k_spent(pool), day .. ' ' .. what, string.format('%.9g', number))
    call('HINCRBYFLOAT', k_spent(pool), 'life ' .. what, string.format('%.9g', number))
  end
  add('runs', 1)
  add('input', u.input or 0)
  add('output', u.output or 0)
  add('usd', u.usd or 0)
  call('PEXPIRE', usage, USAGE_TTL)
  call('PEXPIRE', k_spent(pool), USAGE_TTL)
  local budget = about[2] and cjson.decode(about[2]).budget
  if type(budget) ~= 'table' or (about[4] ~= 'running' and about[4] ~= 'degraded') then return end
  local span = budget.per == 'life' and 'life' or tostring(day)
  if about[3] == span then return end -- somebody resumed it although it was spent
  local s = call('HMGET', k_spent(pool), span .. ' usd', span .. ' input', span .. ' output')
  local usd, tokens = tonumber(s[1] or 0), tonumber(s[2] or 0) + tonumber(s[3] or 0)
  local over
  if type(budget.usd) == 'number' and usd >= budget.usd then over = string.format('$%.2f of $%.2f', usd, budget.usd) end
  if type(budget.tokens) == 'number' and tokens >= budget.tokens then over = string.format('%d of %d tokens', tokens, budget.tokens) end
  if not over then return end
  local until_when = span == 'life' and 'it is resumed' or 'tomorrow (UTC)'
  call('HSET', k_pool(pool), 'status', 'paused', 'paid_for', span, 'spent_on', span,
    'reason', 'Its budget is spent, ' .. over .. ': it is paused until ' .. until_when .. '.')
  event('budget_spent', pool, about[1] or '', 'span', budget.per == 'life' and 'life' or 'day', 'reason', over)
  tell_status(pool, about[4], 'paused')
  changed(pool)
end

-- Ends a task that is not to run again, without a result of its own.
local function give_up(id, status, state, kind, module, text, sum)
  local meta = cjson.encode({ status = state, task_id = id, traceback = cjson.null,
    result = { exc_type = kind, exc_message = { text }, exc_module = module } })
  local outcome = cjson.encode({ status = status, error = text })
  settle(id, pool, { status = status, outcome = outcome, meta = meta, ttl = ttl }, now, sum)
end

local function revoke(id, text, message, sum)
  give_up(id, 'cancelled', 'REVOKED', 'TaskRevokedError', 'celery.exceptions', text, sum)
  untold(pool, message, ttl)
end

local function retry(id, outcome, due, bucket, message)
  local key = k_task(id)
  call('HINCRBY', key, 'retries', 1)
  call('HINCRBY', k_figures(pool), 'retries', 1)
  task_event('task_retried', pool, call('HGET', k_pool(pool), 'name') or '', id, 'task_type', call('HGET', key, 'type') or '', 'due', stamp(due))
  call('HSET', key, 'status', 'retrying', 'retry_at', stamp(due), 'outcome', outcome)
  call('HDEL', key, 'claim', 'suspect')
  call('ZADD', k_delayed(pool), stamp(due), id .. '\n' .. bucket .. '\n' .. message)
  ring(pool)
end

local function hand_back(id, bucket, message)
  local key = k_task(id)
  call('HINCRBY', key, 'attempts', -1)
  call('HSET', key, 'status', 'queued')
  call('HDEL', key, 'claim', 'worker', 'started')
  give_back(pool, id, bucket, message)
  ring(pool)
end

local function release(id, own, value, message, o, sum)
  local key = k_task(id)
  local h = call('HMGET', key, 'status', 'claim', 'again', 'cancel')
  local due, target = string.match(h[3] or '', '^(%S+) (.+)$')
  if h[1] ~= 'running' or h[2] ~= own then return end -- another attempt has it
  if h[4] then
    return revoke(id, h[4], message, sum)
  elseif due and call('EXISTS', k_pool(target)) == 1 then
    call('HSET', key, 'status', 'retrying', 'retry_at', due, 'pool', target)
    call('HDEL', key, 'claim', 'suspect')
    call('ZADD', k_delayed(target), due, value)
    reindex(target, false)
    return ring(target)
  elseif due then
    local text = 'It was to run again in the pool ' .. target .. ', which was closed meanwhile.'
    give_up(id, 'dead', 'FAILURE', 'TaskDead', 'mahavishnu_pools.errors', text, sum)
    dead_letter(id, target, text, message, now)
    return untold(pool, message, ttl)
  end
  settle(id, pool, o, now, sum)
end

-- Counts what a run told, and returns until when its worker type cools down, if it does. No outcome depends on it: an error of a
-- provider, say, may hold what is no text.
local function count_besides(text)
  local good, told = pcall(cjson.decode, text)
  if not good or type(told) ~= 'table' then return nil end
  if told.usage then pcall(used, told.type, told.usage) end
  if not told.cool then return nil end
  local cools, ends = pcall(cool_down, told.cool)
  return cools and ends or nil
end

-- Ends a claim whose value (task, bucket, message) it still has; at is where its arguments begin.
local function finish(at, value, sum)
  local own, id, action = lease .. ':' .. ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local key, record = k_task(id), ending_of(id)
  -- There is one outcome, whoever else ran it.
  if STAT[record[11] or ''] then return record[12] == own and 'again' or 'fenced' end
  local bucket, from = string.match(value, '^[^\n]*\n(%d+)\n()')
  local message = string.sub(value, from)
  local got = record[#record]
  if got then
    needs_kit().take_back(own, got)
    if action ~= 'outcome' then call('HDEL', key, 'got') end
  end
  local cool_until = ARGV[at + 7] ~= '' and count_besides(ARGV[at + 7])
  local o = { status = ARGV[at + 3], outcome = ARGV[at + 4], meta = ARGV[at + 5], ttl = ttl, by = own, record = record }
  if action == 'outcome' then
    -- One that was read ahead began later than it was claimed, and its end may have waited for others.
    local waited, ran = string.match(ARGV[at + 6], '^(%S+) (%S+)$')
    local claimed = ran and tonumber(record[4] or nil)
    if claimed then
      o.finished = math.min(now, claimed + waited + ran)
      o.started = stamp(math.max(claimed, o.finished - ran))
      record[4] = o.started
    end
    settle(id, pool, o, now, sum)
    if o.status == 'dead' then
      local good, value = pcall(cjson.decode, o.outcome)
      local cause = good and type(value) == 'table' and type(value.error) == 'string' and value.error
      dead_letter(id, pool, cause or 'It was given up.', message, now)
    end
    return 'ok'
  end
  call('HSET', key, 'finished_by', own)
  if action == 'release' then
    release(id, own, value, message, o, sum)
    return 'ok'
  end
  call('HDEL', key, 'again')
  local cancelled = call('HGET', key, 'cancel')
  if cancelled then
    -- It was to run again, and somebody asked for its end meanwhile.
    if action == 'handback' then call('HINCRBY', key, 'attempts', -1) end
    revoke(id, cancelled, message, sum)
  elseif action == 'retry' then
    retry(id, o.outcome, math.max(now + tonumber(ARGV[at + 6]), cool_until or 0), bucket, message)
  else
    hand_back(id, bucket, message)
  end
  return 'ok'
end

-- A task whose end cannot be written, because something of it is not what it should be, is given up, and its message kept: the others
-- end, and its worker goes on.
local function end_badly(at, value, problem, sum)
  local id, text = ARGV[at + 1], 'Its end could not be recorded: ' .. problem
  -- It has its outcome when it was only after it that something was wrong.
  local read, status = pcall(call, 'HGET', k_task(id), 'status')
  if read and STAT[status or ''] then return end
  pcall(give_up, id, 'dead', 'FAILURE', 'TaskDead', 'mahavishnu_pools.errors', text, sum)
  pcall(dead_letter, id, pool, text, string.match(value, '^[^\n]*\n%d+\n(.*)$') or value, now)
end

local ended, ids, sum = {}, {}, tally()

-- Returns the reply for a claim. Of one that is there twice the first counts.
local function end_claim(at, value)
  local number, id = ARGV[at], ARGV[at + 1]
  if ended[number] then return 'again' end
  -- After a fail-over that lost writes a number may have been given out again, for another task.
  if value and string.match(value, '^([^\n]*)\n') == id then
    ended[number] = true
    ended[#ended + 1], ids[#ids + 1] = number, id
    local good, reply = pcall(finish, at, value, sum)
    if good then return reply end
    end_badly(at, value, type(reply) == 'table' and reply.err or tostring(reply), sum)
    return 'ok'
  end
  local read, by = pcall(call, 'HGET', k_task(id), 'finished_by')
  return read and by == lease .. ':' .. number and 'again' or 'fenced'
end

-- Messages may be long: some are read at once, not all.
local PIECE = 10
local replies = {}
for first = FIRST, #ARGV, EACH * PIECE do
  local numbers = {}
  for at = first, math.min(#ARGV, first + EACH * PIECE - 1), EACH do numbers[#numbers + 1] = ARGV[at] end
  for i, value in ipairs(call('HMGET', k_claims(lease), unpack(numbers))) do
    replies[#replies + 1] = end_claim(first + (i - 1) * EACH, value)
  end
end
if #ended > 0 then
  call('HDEL', k_claims(lease), unpack(ended))
  call('SREM', k_cancels(lease), unpack(ids))
  written(sum)
  reindex(pool, false)
end
return replies

-- What every script starts with. ARGV[1] is the namespace prefix; the key functions k_*() stand above this text.
local call = redis.call
local BUCKETS = 10
local SEPARATOR = '\6\22'
local DEGRADED_PENALTY = 1e9

-- Lets a script write on a full Redis, which looks only at the first writing command whether it may need memory. For what
-- must go on then, or makes room.
local function even_when_full() call('DEL', k_nothing()) end

local function clock()
  local t = call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function stamp(t) return string.format('%.6f', t) end

local function bucket_key(pool, bucket)
  if tonumber(bucket) == 0 then return k_queue(pool) end
  return k_queue(pool) .. SEPARATOR .. bucket
end

-- Keys of a pool's buckets, the highest priority first.
local known_buckets = {}
local function buckets_of(pool)
  local lists = known_buckets[pool]
  if not lists then
    lists = {}
    for b = 0, BUCKETS - 1 do lists[b + 1] = bucket_key(pool, b) end
    known_buckets[pool] = lists
  end
  return lists
end

-- Nearly all messages are in the bucket of the middle priority: when it is the only one there is, the others need no look.
local function messages_of(pool)
  local lists, usual = buckets_of(pool), BUCKETS / 2
  local there = call('EXISTS', k_delayed(pool), k_suspects(pool), unpack(lists))
  if there == 0 then return 0 end
  local n = call('LLEN', lists[usual])
  if there == 1 and n > 0 then return n end
  n = n + call('ZCARD', k_delayed(pool)) + call('LLEN', k_suspects(pool))
  for i, list in ipairs(lists) do
    if i ~= usual then n = n + call('LLEN', list) end
  end
  return n
end

-- How many tasks wait: messages, but for those of cancelled tasks that are still on their way out.
local function queued_of(pool)
  local n = messages_of(pool)
  if n == 0 then return 0 end
  return math.max(0, n - call('SCARD', k_ended(pool)))
end

local function running_of(pool)
  local n = 0
  for _, lease in ipairs(call('SMEMBERS', k_pool_leases(pool))) do n = n + call('HLEN', k_claims(lease)) end
  return n
end

-- What nodes said of a pool's groups, node and JSON; it counts while the node lives.
local function groups_of(pool)
  local living, all = {}, call('HGETALL', k_groups(pool))
  for i = 1, #all, 2 do
    if call('EXISTS', k_node(all[i])) == 1 then living[#living + 1] = all[i]; living[#living + 1] = all[i + 1] end
  end
  return living
end

-- Of larger messages it is not looked up how long they have waited.
local WAITED_BYTES = 64 * 1024

-- Seconds that the longest waiting of the first messages of each bucket has waited.
local function longest_wait(pool, now)
  local most = 0
  for b = 0, BUCKETS - 1 do
    local message = call('LINDEX', bucket_key(pool, b), -1)
    if message and #message <= WAITED_BYTES then
      local good, m = pcall(cjson.decode, message)
      local id = good and type(m) == 'table' and type(m.headers) == 'table' and m.headers.id
      local created = type(id) == 'string' and tonumber(call('HGET', k_task(id), 'created') or nil)
      if created then most = math.max(most, now - created) end
    end
  end
  return most
end

-- Whoever waits reads the newest entry. Older ones are dropped by whole nodes (a hundred entries): to drop each one at once
-- makes an entry six times as dear (16 instead of 3 µs).
local function ring(pool)
  if call('EXISTS', k_pool(pool)) == 1 then call('XADD', k_bell(pool), 'MAXLEN', '~', '1', '*', 'r', '1') end
end

-- Whether a pool takes tasks, now or when it is resumed.
local function takes(pool)
  local status = call('HGET', k_pool(pool), 'status')
  return status and status ~= 'draining' and status ~= 'stopped' and status ~= 'failed'
end

local function next_turn() return call('INCR', k_seq()) end

local needs_kit, rooms_kit -- see needs.lua

-- Writes the pool's place in the load index from the truth, which the caller may know (total: running and queued), and returns that.
-- With turn=true the pool goes behind its equals.
local function reindex(pool, turn, total)
  local h = call('HMGET', k_pool(pool), 'status', 'workers', 'member')
  local status, member = h[1], h[3]
  if status ~= 'running' and status ~= 'degraded' then
    if member then call('ZREM', k_load(), member); call('HDEL', k_pool(pool), 'member') end
    return
  end
  total = total or queued_of(pool) + running_of(pool)
  local score = total / math.max(1, tonumber(h[2]) or 1)
  if status == 'degraded' then score = score + DEGRADED_PENALTY end
  if turn or not member then
    if member then call('ZREM', k_load(), member) end
    member = string.format('%015d:%s', next_turn(), pool)
    call('HSET', k_pool(pool), 'member', member)
  end
  call('ZADD', k_load(), string.format('%.17g', score), member)
  return total
end

local function changed(pool)
  call('INCR', k_registry())
  call('PUBLISH', k_changed(), pool)
end

-- Pools in the order of the load index that are in the set (nil: all). Returns the first, or all with all=true.
local function indexed(set, all)
  local found, from, chunk = {}, 0, 32
  while true do
    local members = call('ZRANGE', k_load(), from, from + chunk - 1, 'WITHSCORES')
    for i = 1, #members, 2 do
      local id = string.sub(members[i], 17)
      if not set or set[id] then
        if not all then return id end
        found[#found + 1] = { id, tonumber(members[i + 1]) }
      end
    end
    if #members < 2 * chunk then break end
    from, chunk = from + chunk, 256
  end
  if all then return found end
  return nil
end

-- The best class of candidates: those that are not degraded, or all when there is nothing else.
local function best_class(set)
  local all, good = indexed(set, true), {}
  for _, entry in ipairs(all) do
    if entry[2] < DEGRADED_PENALTY then good[#good + 1] = entry[1] end
  end
  if #good > 0 then return good end
  for i, entry in ipairs(all) do all[i] = entry[1] end
  return all
end

-- The candidate whose turn was longest ago, in the order kept under the key; it goes to the end. The order is read once a script.
local function by_turn(key, o)
  if not o.order then
    local turns = {}
    for _, id in ipairs(best_class(o.set)) do turns[#turns + 1] = { tonumber(call('ZSCORE', key, id) or 0), id } end
    table.sort(turns, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
    o.order, o.at = turns, 0
  end
  if #o.order == 0 then return nil end
  o.at = o.at % #o.order + 1
  local chosen = o.order[o.at][2]
  call('ZADD', key, next_turn(), chosen)
  return chosen
end

local AFFINITY_TTL = 30 * 86400

-- The pool a key is bound to, if that one may take this task; and whether the key is bound to a pool that lives.
local function bound_pool(o)
  local bound = call('GET', k_affinity(o.affinity))
  if not bound or not takes(bound) then return nil, false end
  if o.keep and not o.keep[bound] then return nil, true end
  return bound, true
end

local function by_affinity(o)
  local bound, lives = bound_pool(o)
  if bound then
    call('EXPIRE', k_affinity(o.affinity), AFFINITY_TTL)
    return bound
  end
  if not lives then
    local chosen = by_turn(k_affinity_turns(), o)
    if chosen then call('SET', k_affinity(o.affinity), chosen, 'EX', AFFINITY_TTL) end
    return chosen
  end
  -- Its pool lives but cannot take this one task: the binding stays, and such tasks stick to another pool by hash.
  local chosen, best
  for _, id in ipairs(best_class(o.set)) do
    local weight = redis.sha1hex(o.affinity .. ' ' .. id)
    if not best or weight > best then chosen, best = id, weight end
  end
  return chosen
end

-- Chooses one pool. o: strategy, set and keep (or nil: all), affinity, pool. For random the generator must be seeded.
local function pick(o)
  local s = o.strategy
  if s == 'pool' then return o.pool end
  if s == 'least_loaded' then return o.needs and rooms_kit().roomy(o) or indexed(o.set, false) end
  if s == 'round_robin' then return by_turn(k_turns(), o) end
  if s == 'affinity' then return by_affinity(o) end
  o.class = o.class or best_class(o.set)
  return #o.class > 0 and o.class[math.random(#o.class)] or nil
end

-- How a pool was chosen, as JSON text: the candidates with their loads as they are now, and why the others were left out. Bounded.
local function explained(o, chosen, now)
  local MOST, all, candidates, more = 20, nil, {}, 0
  if o.strategy == 'pool' and not o.set then all = { { chosen } } else all = indexed(o.set, true) end
  for _, entry in ipairs(all) do
    local id, load = entry[1], entry[2]
    if #candidates < MOST or id == chosen then
      local h = call('HMGET', k_pool(id), 'name', 'workers')
      if not load then load = (queued_of(id) + running_of(id)) / math.max(1, tonumber(h[2]) or 1) end
      local one = { pool_id = id, name = h[1] or nil, load = load, degraded = load >= DEGRADED_PENALTY }
      if one.degraded then one.load = load - DEGRADED_PENALTY end
      if o.needs then one.room = rooms_kit().room_of({ needs = o.needs }, id) end
      for name, value in pairs(o.explain.figures and o.explain.figures[id] or {}) do one[name] = value end
      candidates[#candidates + 1] = one
    else
      more = more + 1
    end
  end
  return cjson.encode({ strategy = o.explain.strategy, pool_id = chosen, candidates = candidates, left_out = o.explain.left_out,
    more = more + (o.explain.more or 0), at = stamp(now) })
end

-- Why nothing can be chosen with these options, as a reply; nil when something can.
local function refusal(o)
  if o.strategy == 'pool' then
    for _, pool in ipairs(o.targets or { o.pool }) do
      local status = call('HGET', k_pool(pool), 'status')
      if not status then return { call('EXISTS', k_gone(pool)) == 1 and 'gone' or 'unknown', pool } end
      if not takes(pool) then return { 'closing', pool, status } end
    end
    return nil
  end
  if o.strategy == 'affinity' then
    if call('EXISTS', k_gone(o.affinity)) == 1 then return { 'gone', o.affinity } end
    if bound_pool(o) then return nil end
  end
  if not indexed(o.set, false) then return { 'none' } end
  return nil
end

local function set_of(list)
  if type(list) ~= 'table' then return nil end
  local set = {}
  for _, id in ipairs(list) do set[id] = true end
  return set
end

-- Reads the options of submit and route. Reply: options, and nil or why the call is refused
local function options(text)
  local o = cjson.decode(text)
  local version = tonumber(call('GET', k_registry()) or 0)
  if o.version and o.version ~= version then return o, { 'stale', version } end
  o.set, o.keep = set_of(o.candidates), set_of(o.keep)
  math.randomseed(math.floor((o.random or 0) * 2147483647))
  return o, refusal(o)
end

-- Puts a message at the back of its bucket. prefix and suffix are the message around the name of its queue.
local function push(pool, bucket, prefix, suffix)
  call('LPUSH', bucket_key(pool, bucket), prefix .. 'pool.' .. pool .. suffix)
end

-- The message with another pool's queue as its own: a worker that sends it again (retry) sends it there. Its properties stand last.
local function readdressed(message, source, target)
  if source == target then return message end
  local pattern = '"routing_key"%s*:%s*"pool%.' .. string.gsub(source, '%p', '%%%0') .. '"'
  local first, last, from = nil, nil, 1
  while true do
    local s, e = string.find(message, pattern, from)
    if not s then break end
    first, last, from = s, e, e + 1
  end
  if not first then return message end
  return string.sub(message, 1, first - 1) .. '"routing_key":"pool.' .. target .. '"' .. string.sub(message, last + 1)
end

-- Gives a message back to the front of where it waits: a suspect waits apart, to run alone.
local function give_back(pool, id, bucket, message)
  local h = call('HMGET', k_task(id), 'suspect', 'needs')
  if h[1] then
    call('RPUSH', k_suspects(pool), id .. '\n' .. bucket .. '\n' .. message)
    call('PUBLISH', k_changed(), pool)
  elseif h[2] and call('EXISTS', k_pool(pool)) == 1 then
    needs_kit().park(pool, id, bucket, message, h[2], true)
  else
    call('RPUSH', bucket_key(pool, bucket), message)
  end
end

-- ── figures and events. Figures of a pool are fields of one hash, counted up where they arise; the metrics are read from them. ──

-- Upper ends, in seconds, of the buckets that run times and waits are counted in; the next one holds the rest.
local EDGES = { 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600 }

local function edge_of(seconds)
  for i = 1, #EDGES do
    if seconds <= EDGES[i] then return i end
  end
  return #EDGES + 1
end

-- Anybody can name a task type: so many fields a pool, then types it had not yet are counted as `other`.
local FIGURES_MOST = 2000

-- Outcomes are counted by type, status and bucket of their run time (none: it never started).
local function figure_of(kind, status, seconds)
  return 't\n' .. string.sub(kind, 1, 128) .. '\n' .. status .. '\n' .. (seconds and edge_of(seconds) or '')
end

local function count_outcomes(pool, field, number)
  if call('HINCRBY', k_figures(pool), field, number) > number or call('HLEN', k_figures(pool)) <= FIGURES_MOST then return end
  call('HDEL', k_figures(pool), field)
  call('HINCRBY', k_figures(pool), 't\nother' .. string.match(field, '\n[^\n]*\n[^\n]*$'), number)
end

-- Counts something else of a pool, while there is one.
local function count_figure(pool, field, number)
  if call('EXISTS', k_pool(pool)) == 1 then call('HINCRBY', k_figures(pool), field, number) end
end

-- Events of pools and of tasks are kept apart, so many of each: many tasks do not push out what became of the pools.
local POOL_EVENTS, TASK_EVENTS = 10000, 100000

-- Notes what became of a pool or node, with fields (name, value, …); nothing fails for want of the note.
local function event(kind, pool, name, ...)
  redis.pcall('XADD', k_events('pools'), 'MAXLEN', '~', POOL_EVENTS, '*', 'type', kind, 'pool', pool, 'name', name, ...)
end

local function task_event(kind, pool, name, id, ...)
  redis.pcall('XADD', k_events('tasks'), 'MAXLEN', '~', TASK_EVENTS, '*', 'type', kind, 'pool', pool, 'name', name, 'task', id, ...)
end

-- A pool has another number of workers. by: auto or hand.
local function note_scaling(pool, before, after, by, reason)
  before, after = tonumber(before), tonumber(after)
  if not before or not after or before == after then return end
  local direction = after > before and 'up' or 'down'
  call('HINCRBY', k_figures(pool), 's\n' .. direction .. '\n' .. by, 1)
  event('pool_scaled', pool, call('HGET', k_pool(pool), 'name') or '', 'before', before, 'after', after, 'by', by, 'reason', reason or '')
end

-- The user's app that runs the Celery tasks of a pool; '' the one that is configured for all.
local function app_in(config) return string.match(config or '', '"celery_app"%s*:%s*"([^"]*)"') or '' end

local function app_of(pool) return app_in(call('HGET', k_pool(pool), 'config')) end

-- Messages that wait so until a worker tells Celery; the newest are kept.
local UNTOLD_MOST = 10000

-- Keeps the message of a task whose outcome was written without Celery. Of a group or chord the others wait for it: a worker that has
-- the app tells Celery.
local function untold(pool, message, ttl)
  if not string.find(message, '"group"%s*:%s*"') then return end
  local key = k_untold(app_of(pool))
  call('LPUSH', key, message)
  call('LTRIM', key, 0, UNTOLD_MOST - 1)
  call('PEXPIRE', key, math.max(1, math.floor(tonumber(ttl))))
end

-- Dead letters are kept for DEAD_TTL ms, which stands above, and so many; the task's record and its output stay as long.
local DEAD_MOST, UNREADABLE_MOST = 10000, 65536

-- Keeps a message nobody will run; cause is a sentence. Of one that belongs to no task only so much is kept.
local function dead_letter(id, pool, cause, message, now)
  if call('EXISTS', k_task(id)) == 0 then message = string.sub(message, 1, UNREADABLE_MOST) end
  call('HSET', k_dead_letter(id), 'pool', pool, 'cause', cause, 'message', message, 'at', stamp(now))
  call('ZADD', k_dead(), now, id)
  count_figure(pool, 'dead_letters', 1)
  for _, key in ipairs({ k_dead_letter(id), k_dead(), k_task(id), k_log(id) }) do
    if call('PTTL', key) < DEAD_TTL then call('PEXPIRE', key, DEAD_TTL) end
  end
  call('ZREMRANGEBYSCORE', k_dead(), '-inf', now - DEAD_TTL / 1000)
  for _, old in ipairs(call('ZRANGE', k_dead(), 0, -DEAD_MOST - 1)) do
    call('DEL', k_dead_letter(old))
    call('ZREM', k_dead(), old)
  end
end

-- ── the bus. What scripts tell of pools and tasks must never keep them from their work: all of it may fail. ──

-- A mailbox lives so long (ms) after its last message; it takes so many messages of scripts, and so many bytes.
local MAILBOX_TTL, MAILBOX_MOST, MAILBOX_BYTES = 3600000, 1000, 16 * 1024 * 1024

-- Whether somebody listens to a type of message now. What nobody listens to is not put together.
local function heard(kind)
  local found = redis.pcall('PUBSUB', 'NUMSUB', k_bus(kind))
  return not found.err and found[2] > 0
end

-- A time as ISO 8601 in UTC.
local function iso(t)
  local z = math.floor(t / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local s = math.floor((t % 86400) * 1000000) / 1000000
  return string.format('%04d-%02d-%02dT%02d:%02d:%09.6fZ', yoe + era * 400 + (month <= 2 and 1 or 0), month,
    doy - math.floor((153 * mp + 2) / 5) + 1, math.floor(s / 3600), math.floor(s % 3600 / 60), s % 60)
end

-- A message as JSON text. payload is JSON text; seed: what its id is made of.
local function message_text(kind, source, target, payload, seed, now)
  local head = cjson.encode({ type = kind, source_pool_id = source, target_pool_id = target, timestamp = iso(now),
    message_id = 'msg_' .. string.sub(redis.sha1hex(kind .. seed), 1, 16), schema_version = 1 })
  return string.sub(head, 1, -2) .. ',"payload":' .. payload .. '}'
end

-- Sends messages of one type, a line each, to who listens, with the number of the last one: so listeners know how many they missed.
-- run: redis.call, or redis.pcall where it may fail.
local function broadcast(run, kind, text, count)
  local last = run('HINCRBY', k_bus_count(), kind, count)
  run('PUBLISH', k_bus(kind), (type(last) == 'number' and last or 0) .. '\n' .. text)
end

-- Puts a message into the mailbox of a pool, and returns how many it displaced.
local function into_mailbox(run, pool, text, most)
  local key, gone = k_mailbox(pool), 0
  local n = run('RPUSH', key, text)
  if type(n) ~= 'number' then return 0 end
  run('PEXPIRE', key, MAILBOX_TTL)
  if n > most then
    run('LTRIM', key, -most, -1)
    n, gone = most, n - most
  end
  while n > 1 and n * #text > MAILBOX_BYTES do
    local taken = run('MEMORY', 'USAGE', key, 'SAMPLES', 0)
    if type(taken) ~= 'number' or taken <= MAILBOX_BYTES then break end
    run('LPOP', key)
    n, gone = n - 1, gone + 1
  end
  run('PUBLISH', k_mail(pool), '1')
  return gone
end

-- News of a pool for who listens. payload: a table.
local function tell(kind, pool, payload, now)
  if not heard(kind) then return end
  local text = cjson.encode(payload)
  broadcast(redis.pcall, kind, message_text(kind, pool, nil, text, pool .. stamp(now) .. text, now), 1)
end

-- News of a pool's status.
local function tell_status(pool, before, after)
  if before == after then return end
  local h = call('HMGET', k_pool(pool), 'name', 'reason')
  event('pool_status', pool, h[1] or '', 'status', after, 'before', before or '', 'reason', h[2] or '')
  tell('status_update', pool, { status = after, before = before }, clock())
end

-- Bytes of output and error in an answer to a delegated task that is not sent whole, and the most that is sent whole.
local SHARED_OUTPUT, SHARED_ERROR, SHARED_WHOLE = 24 * 1024, 4096, 64 * 1024

-- At most so many bytes of a text, not ending within a character.
local function beginning(text, most)
  if type(text) ~= 'string' or #text <= most then return text end
  while most > 0 and string.byte(text, most + 1) >= 128 and string.byte(text, most + 1) < 192 do most = most - 1 end
  return string.sub(text, 1, most)
end

-- Answers those who delegated a task: to who listens, and into their mailboxes. asked: a line of JSON for each of them.
local function share(id, pool, asked, o, now, about)
  local result, cut = o.outcome ~= '' and o.outcome or '{}', false
  if #result > SHARED_WHOLE then
    local good, whole = pcall(cjson.decode, result)
    if not good or type(whole) ~= 'table' then whole = {} end
    result, cut = cjson.encode({ status = whole.status, exit_code = whole.exit_code, worker_id = whole.worker_id,
      output = beginning(whole.output, SHARED_OUTPUT), error = beginning(whole.error, SHARED_ERROR) }), true
  end
  for line in string.gmatch(asked, '[^\n]+') do
    local by = cjson.decode(line)
    local head = cjson.encode({ in_reply_to = by.message_id, task_id = id, task_type = about.type, status = o.status,
      duration = about.duration, truncated = cut })
    local payload = string.sub(head, 1, -2) .. ',"result":' .. string.gsub(result, '\n', ' ') .. '}'
    local text = message_text('result_share', pool, by.source, payload, by.message_id, now)
    broadcast(redis.pcall, 'result_share', text, 1)
    into_mailbox(redis.pcall, by.source, text, MAILBOX_MOST)
  end
end

-- Notes that a task has ended which others come after. There may be many of them: agents tell them in pieces (release).
local function end_parent(id, status)
  call('RPUSH', k_releasing(), id .. ' ' .. status)
  redis.pcall('PUBLISH', k_release(), '1')
end

-- A task waits no longer for those it comes after.
local function unwait(id)
  call('DEL', k_held(id))
  call('ZREM', k_waiting(), id)
  call('ZREM', k_ready(), id)
end

local settle

-- Defined in contests.lua.
local contests

-- Puts the task that follows a batch on a queue: of a candidate, else of the fallback, else of any pool that is active, which may
-- not run a judge's prompt: it may be one that takes it for a command.
local function start_follower(key, now, ttl)
  local follower = cjson.decode(call('HGET', key, 'then'))
  call('HDEL', key, 'then')
  call('HDEL', k_task(follower.id), 'follows')
  local unjudged = follower.judges and tonumber(call('HGET', key, 'successful')) == 0
  local pool = indexed(set_of(follower.candidates), false) or takes(follower.fallback) and follower.fallback
    or follower.type ~= 'judge' and indexed(nil, false)
  if unjudged or not pool then
    local text = unjudged and 'No candidate has an answer to judge.' or 'No pool was left to run it.'
    local meta = cjson.encode({ status = 'FAILURE', task_id = follower.id, traceback = cjson.null,
      result = { exc_type = 'TaskFailed', exc_message = { text }, exc_module = 'mahavishnu_pools.errors' } })
    local outcome = cjson.encode({ status = 'failed', error = text })
    return settle(follower.id, follower.fallback, { status = 'failed', outcome = outcome, meta = meta, ttl = ttl }, now)
  end
  push(pool, follower.bucket, follower.prefix, follower.suffix)
  call('HSET', k_task(follower.id), 'pool', pool)
  reindex(pool, true)
  ring(pool)
end

-- However long it takes: a batch is kept until all have their outcomes, and for the lifetime of results from then on.
-- What follows it starts when it has all its tasks and all their outcomes. Returns whether it is a contest.
local function batch_end(batch, now, ttl)
  local key = k_batch(batch)
  local h = call('HMGET', key, 'total', 'successful', 'failed', 'then', 'sealed', 'contest')
  local over = tonumber(h[2]) + tonumber(h[3]) >= tonumber(h[1])
  for _, one in ipairs({ key, k_batch_tasks(batch) }) do
    if over then call('PEXPIRE', one, ttl) else call('PERSIST', one) end
  end
  if h[4] and h[5] and over then start_follower(key, now, ttl) end
  return h[6]
end

-- Batch bookkeeping when a member has its outcome.
local function batch_step(batch, id, o, now, ttl)
  local ok = o.status == 'completed'
  if call('EXISTS', k_batch(batch)) == 0 then return end
  call('HINCRBY', k_batch(batch), ok and 'successful' or 'failed', 1)
  if batch_end(batch, now, ttl) then contests(ttl, now).step(batch, id, ok and o.meta or nil) end
end

local STAT = { completed = 'n_completed', failed = 'n_failed', timeout = 'n_timeout', cancelled = 'n_cancelled', dead = 'n_dead', refused = 'n_refused' }

-- The outbox is a log of outcomes, each with a number: of one that could not be written, or was cut off unread, the number is missing.
-- OUTBOX says what it may hold (entries, size in bytes, ttl in ms); of long texts so many bytes are kept. Its size is looked at every so
-- many outcomes.
local OUTBOX_TEXT, OUTBOX_LOOK = 24 * 1024, 256

-- Cuts off the oldest entries of an outbox that takes more memory than it may.
local function bound_outbox()
  local taken = redis.pcall('MEMORY', 'USAGE', k_outbox())
  if type(taken) ~= 'number' or taken <= OUTBOX.size then return end
  redis.pcall('XTRIM', k_outbox(), 'MAXLEN', '~', math.floor(call('XLEN', k_outbox()) * OUTBOX.size / taken * 0.9))
end

-- Whether a JSON text says false under this name at its top. It is decoded only when the name is somewhere in it.
local function says_no(text, name)
  if not text or not string.find(text, '"' .. name .. '"%s*:%s*false') then return false end
  local good, value = pcall(cjson.decode, text)
  return good and type(value) == 'table' and value[name] == false
end

-- An outcome with what a memory record is made of, its output cut.
local function shortened(text)
  local good, value = pcall(cjson.decode, text)
  if not good or type(value) ~= 'table' then return '{}' end
  if type(value.result) == 'table' and value.task_id then value = value.result end
  local kept = { exit_code = value.exit_code, worker_id = value.worker_id }
  for name, most in pairs({ output = OUTBOX_TEXT, error = 4096 }) do
    if type(value[name]) == 'string' then kept[name] = string.sub(value[name], 1, most) end
  end
  local told = value.metadata
  if type(told) == 'table' then kept.metadata = { tools = told.tools, files = told.files, cost_usd = told.cost_usd } end
  return cjson.encode(kept)
end

-- The fields of a task's record that its end needs, in this order; the last one is what its node gave it.
local function ending_of(id)
  return call('HMGET', k_task(id), 'client', 'batch', 'idem', 'started', 'type', 'also', 'spec', 'worker', 'replayed', 'delegated',
    'status', 'finished_by', 'children', 'got')
end

-- What the outcomes of one script add to the figures, the outbox and the news: put together here, written once by `written`.
local function tally() return { pools = {}, outbox = {}, clients = {} } end

local function tally_of(t, pool)
  local p = t.pools[pool]
  if not p then
    local h = call('HMGET', k_pool(pool), 'config', 'type', 'name')
    p = { config = h[1], type = h[2] or '', name = h[3], counts = {}, figures = {}, recent = {}, seconds = 0, timed = 0 }
    t.pools[pool] = p
  end
  return p
end

-- Notes an outcome for the memory. h: fields of the record, as ending_of reads them.
local function note(t, id, pool, o, now, h)
  local about = tally_of(t, pool)
  if says_no(about.config, 'memory_enabled') or says_no(h[7], 'memory') then return end
  local spec, outcome = h[7] or '', o.outcome ~= '' and o.outcome or o.meta
  if #spec > OUTBOX_TEXT then spec = string.sub(spec, 1, OUTBOX_TEXT) end
  if #outcome > OUTBOX_TEXT then outcome = shortened(outcome) end
  t.outbox[#t.outbox + 1] = { 'task', id, 'pool', pool, 'pool_type', about.type, 'pool_name', about.name or '', 'type', h[5] or '',
    'worker', h[8] or '', 'status', o.status, 'started', h[4] or '', 'finished', stamp(o.finished or now), 'replayed', h[9] or '', 'spec', spec,
    'outcome', outcome }
end

-- The outcome counts: whatever is wrong with the outbox, numbers that are missing are all that comes of it.
local function write_outbox(entries)
  local last = redis.pcall('INCRBY', k_outbox_count(), #entries)
  local before = type(last) == 'number' and last - #entries
  for i, entry in ipairs(entries) do
    redis.pcall('XADD', k_outbox(), 'MAXLEN', '~', OUTBOX.entries, '*', 'n', before and before + i or 0, unpack(entry))
  end
  redis.pcall('PEXPIRE', k_outbox(), OUTBOX.ttl)
  if before and math.floor(before / OUTBOX_LOOK) ~= math.floor(last / OUTBOX_LOOK) then bound_outbox() end
end

-- News of so many outcomes in one script are sent whole, so that who waits need not read them, unless one has more bytes than this.
local NEWS_WHOLE, NEWS_BYTES = 4, 16 * 1024

-- What a reader gets of a task: its id, its record (field, value, …), and Celery's result or ''.
local function entry_of(id)
  local record, status = call('HGETALL', k_task(id)), nil
  for n = 1, #record, 2 do
    if record[n] == 'status' then status = record[n + 1] end
  end
  return { id, record, status == 'completed' and call('GET', k_meta(id)) or '' }
end

local function entries_of(ids)
  local entries = {}
  for i, id in ipairs(ids) do entries[i] = entry_of(id) end
  return cjson.encode(entries)
end

-- What a client is told of its tasks that ended: their ids, a line each, and behind an empty line what it would read of them, as JSON.
local function news_of(told)
  local ids, whole, text = table.concat(told, '\n'), not told.large and #told <= NEWS_WHOLE, nil
  if whole then whole, text = pcall(entries_of, told) end
  return whole and ids .. '\n\n' .. text or ids
end

local function written(t)
  for pool, p in pairs(t.pools) do
    for field, number in pairs(p.counts) do call('HINCRBY', k_pool(pool), field, number) end
    for field, number in pairs(p.figures) do count_outcomes(pool, field, number) end
    if p.timed > 0 then
      call('HINCRBYFLOAT', k_pool(pool), 'duration_sum', stamp(p.seconds))
      call('HINCRBY', k_pool(pool), 'duration_count', p.timed)
    end
    -- What is more than 1000 is cut off a hundred at a time.
    if #p.recent > 0 and call('LPUSH', k_recent(pool), unpack(p.recent)) >= 1100 then call('LTRIM', k_recent(pool), 0, 999) end
  end
  if OUTBOX and #t.outbox > 0 then write_outbox(t.outbox) end
  for client, told in pairs(t.clients) do call('PUBLISH', k_client(client), news_of(told)) end
end

-- Writes the one outcome of a task. o: status, outcome (JSON or ''), meta (JSON or ''), ttl (ms), by (the claim that ends with it, if
-- one does), record (what ending_of read, if it did), started and finished (when it began and ended, where that is not known by its claim
-- and now). A completed outcome lives in Celery's result key, any other in the record.
-- What it adds up goes into the tally t, which the caller writes; without one it is written here.
function settle(id, pool, o, now, t)
  local key, ttl, sum, h = k_task(id), math.max(1, math.floor(tonumber(o.ttl))), t or tally(), o.record or ending_of(id)
  if h[2] and o.status == 'cancelled' then o = contests(ttl, now).lost(h[2], id, o) end
  local finished = o.finished or now
  local record = { 'status', o.status, 'finished', stamp(finished) }
  if o.by then record[5], record[6] = 'finished_by', o.by end
  if o.started then record[#record + 1], record[#record + 2] = 'started', o.started end
  if o.status ~= 'completed' or o.meta == '' then
    record[#record + 1], record[#record + 2] = 'outcome', o.outcome
    call('HDEL', key, 'retry_at', 'cancel', 'suspect', 'again')
  else
    call('HDEL', key, 'retry_at', 'cancel', 'suspect', 'again', 'outcome')
  end
  call('HSET', key, unpack(record))
  call('PEXPIRE', key, ttl)
  if h[11] == 'waiting' then unwait(id) end
  if o.meta ~= '' then
    call('SET', k_meta(id), o.meta, 'PX', ttl)
    call('PUBLISH', k_meta(id), o.meta)
  end
  if h[3] and call('GET', k_idem(h[3])) == id then call('PEXPIRE', k_idem(h[3]), ttl) end
  local periodic = string.find(h[5] or '', 'celery:mahavishnu.periodic.', 1, true) == 1
  if OUTBOX and not periodic then note(sum, id, pool, o, now, h) end
  local p = not periodic and tally_of(sum, pool)
  local seconds = h[4] and finished - tonumber(h[4]) or nil
  if p and p.name then
    p.counts[STAT[o.status]] = (p.counts[STAT[o.status]] or 0) + 1
    local figure = figure_of(h[5] or '', o.status, seconds)
    p.figures[figure] = (p.figures[figure] or 0) + 1
    if seconds then p.seconds, p.timed = p.seconds + seconds, p.timed + 1 end
    p.recent[#p.recent + 1] = id
    task_event('task_' .. o.status, pool, p.name, id, 'task_type', h[5] or '', 'worker', h[8] or '', 'seconds', seconds and stamp(seconds) or '')
  end
  if h[1] then
    local told = sum.clients[h[1]] or {}
    told[#told + 1], sum.clients[h[1]] = id, told
    -- Of what is written at once, more may change before the script ends.
    told.large = told.large or not t or #o.meta + #o.outcome + #(h[7] or '') > NEWS_BYTES
  end
  local about = { type = h[5], duration = seconds }
  if h[10] then pcall(share, id, pool, h[10], o, now, about) end
  if not periodic then
    if sum.heard == nil then sum.heard = heard('task_completed') end
    if sum.heard then
      local worker = string.match(o.outcome, '"worker_id"%s*:%s*"([^"]*)"%s*}$') or h[8]
      tell('task_completed', pool, { task_id = id, task_type = h[5], status = o.status, worker_id = worker, duration = about.duration }, now)
    end
  end
  if h[2] then batch_step(h[2], id, o, now, ttl) end
  for batch in string.gmatch(h[6] or '', '%S+') do batch_step(batch, id, o, now, ttl) end
  if h[13] then end_parent(id, o.status) end
  if not t then written(sum) end
end

-- Notes what was decided about a task that awaits approval, which it does no longer. d: decision, by, reason, request (or nil)
local function decided(id, d, now)
  call('HSET', k_task(id), 'approval', d.decision, 'approval_at', stamp(now), 'approval_by', d.by or '', 'approval_reason', d.reason or '',
    'approval_request', d.request or '')
  call('DEL', k_held(id))
  call('ZREM', k_awaiting(), id)
  local h = call('HMGET', k_task(id), 'pool', 'type')
  task_event('approval_' .. d.decision, h[1], call('HGET', k_pool(h[1]), 'name') or '', id, 'task_type', h[2] or '', 'by', d.by or '',
    'reason', d.reason or '')
end

-- The outcome of a task that will never run, as a cancelled one's.
local function end_unrun(id, status, text, ttl, now)
  local meta = cjson.encode({ status = 'REVOKED', task_id = id, traceback = cjson.null,
    result = { exc_type = 'TaskRevokedError', exc_message = { text }, exc_module = 'celery.exceptions' } })
  settle(id, call('HGET', k_task(id), 'pool'), { status = status, outcome = cjson.encode({ status = status, error = text }), meta = meta,
    ttl = ttl }, now)
end

-- A task that awaits approval: its message is kept apart, and no pool has it. Its pool is chosen again when it is approved.
local function hold(id, kind, pool, message, timeout, now)
  local ends = stamp(now + timeout)
  call('HSET', k_task(id), 'status', 'awaiting_approval', 'approval', 'awaiting', 'approval_ends', ends)
  call('HSET', k_held(id), unpack(message))
  call('ZADD', k_awaiting(), ends, id)
  task_event('approval_asked', pool, call('HGET', k_pool(pool), 'name') or '', id, 'task_type', kind, 'ends', ends)
end

-- Ends a task that nobody approved of in time.
local function expire_approval(id, ttl, now)
  decided(id, { decision = 'expired' }, now)
  end_unrun(id, 'cancelled', 'Nobody approved of it in time (approval_timeout).', ttl, now)
end

-- The id of a waiting message and its lot: what a pool must be to run it, as text (type, worker type it names, filter it was sent
-- with, living pool its affinity key is bound to, what it needs of a node, if anything; a line each). No id: it cannot be read. No lot: its task has its outcome already.
local function lot_of(message)
  local good, m = pcall(cjson.decode, message)
  local headers = good and type(m) == 'table' and m.headers
  if type(headers) ~= 'table' or type(headers.id) ~= 'string' or type(headers.task) ~= 'string' then return nil, nil end
  local h = call('HMGET', k_task(headers.id), 'type', 'status', 'affinity', 'spec', 'filters', 'needs')
  if h[2] and STAT[h[2]] then return headers.id, nil end
  local worker_type, home = '', ''
  if h[4] and string.find(h[4], '"worker_type"', 1, true) then
    local read, spec = pcall(cjson.decode, h[4])
    if read and type(spec) == 'table' and type(spec.worker_type) == 'string' then worker_type = spec.worker_type end
  end
  if h[3] then
    local bound = call('GET', k_affinity(h[3]))
    if bound and takes(bound) then home = bound end
  end
  return headers.id, (h[1] or 'celery:' .. headers.task) .. '\n' .. worker_type .. '\n' .. (h[5] or '') .. '\n' .. home .. (h[6] and '\n' .. h[6] or '')
end

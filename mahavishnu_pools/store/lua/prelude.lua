-- What every script starts with. ARGV[1] is the namespace prefix; the key functions k_*() stand above this text.
local call = redis.call
local BUCKETS = 10
local SEPARATOR = '\6\22'
local DEGRADED_PENALTY = 1e9

local function clock()
  local t = call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function stamp(t) return string.format('%.6f', t) end

local function bucket_key(pool, bucket)
  if tonumber(bucket) == 0 then return k_queue(pool) end
  return k_queue(pool) .. SEPARATOR .. bucket
end

local function queued_of(pool)
  local n = call('ZCARD', k_delayed(pool))
  for b = 0, BUCKETS - 1 do n = n + call('LLEN', bucket_key(pool, b)) end
  return n
end

local function running_of(pool)
  local n = 0
  for _, lease in ipairs(call('SMEMBERS', k_pool_leases(pool))) do n = n + call('HLEN', k_claims(lease)) end
  return n
end

local function ring(pool) call('XADD', k_bell(pool), 'MAXLEN', '1', '*', 'r', '1') end

local function next_turn() return call('INCR', k_seq()) end

-- Writes the pool's place in the load index from the truth. With turn=true the pool goes behind its equals.
local function reindex(pool, turn)
  local h = call('HMGET', k_pool(pool), 'status', 'workers', 'member')
  local status, member = h[1], h[3]
  if status ~= 'running' and status ~= 'degraded' then
    if member then call('ZREM', k_load(), member); call('HDEL', k_pool(pool), 'member') end
    return
  end
  local score = (queued_of(pool) + running_of(pool)) / math.max(1, tonumber(h[2]) or 1)
  if status == 'degraded' then score = score + DEGRADED_PENALTY end
  if turn or not member then
    if member then call('ZREM', k_load(), member) end
    member = string.format('%015d:%s', next_turn(), pool)
    call('HSET', k_pool(pool), 'member', member)
  end
  call('ZADD', k_load(), string.format('%.17g', score), member)
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

-- The candidate whose turn was longest ago, in the order kept under the key; it goes to the end.
local function by_turn(key, candidates)
  local chosen, oldest
  for _, id in ipairs(candidates) do
    local turn = tonumber(call('ZSCORE', key, id) or 0)
    if not oldest or turn < oldest or (turn == oldest and id < chosen) then chosen, oldest = id, turn end
  end
  if chosen then call('ZADD', key, next_turn(), chosen) end
  return chosen
end

local AFFINITY_TTL = 30 * 86400

local function by_affinity(key, set)
  local bound = call('GET', k_affinity(key))
  if bound and call('EXISTS', k_pool(bound)) == 1 and (not set or set[bound]) then
    call('EXPIRE', k_affinity(key), AFFINITY_TTL)
    return bound
  end
  local chosen = by_turn(k_affinity_turns(), best_class(set))
  if chosen then call('SET', k_affinity(key), chosen, 'EX', AFFINITY_TTL) end
  return chosen
end

-- Chooses one pool. o: strategy, set (or nil), affinity, random (0 ≤ r < 1), pool.
local function pick(o)
  local s = o.strategy
  if s == 'pool' then return o.pool end
  if s == 'least_loaded' then return indexed(o.set, false) end
  if s == 'round_robin' then return by_turn(k_turns(), best_class(o.set)) end
  if s == 'affinity' then return by_affinity(o.affinity, o.set) end
  local candidates = best_class(o.set)
  if #candidates == 0 then return nil end
  return candidates[1 + math.floor(o.random * #candidates) % #candidates]
end

local function set_of(list)
  if type(list) ~= 'table' then return nil end
  local set = {}
  for _, id in ipairs(list) do set[id] = true end
  return set
end

-- Puts a message at the back of its bucket. prefix and suffix are the message around the name of its queue.
local function push(pool, bucket, prefix, suffix)
  call('LPUSH', bucket_key(pool, bucket), prefix .. 'pool.' .. pool .. suffix)
end

local function dead_letter(id, pool, cause, message, now)
  call('HSET', k_dead_letter(id), 'pool', pool, 'cause', cause, 'message', message, 'at', stamp(now))
  call('ZADD', k_dead(), now, id)
end

-- Batch bookkeeping when a member has its outcome: the follower, if any, goes to a queue when it was the last one.
local function batch_step(batch, ok, now, ttl)
  local key = k_batch(batch)
  if call('EXISTS', key) == 0 then return end
  call('HINCRBY', key, ok and 'successful' or 'failed', 1)
  local h = call('HMGET', key, 'total', 'successful', 'failed', 'then', 'sealed')
  call('PEXPIRE', key, ttl)
  call('PEXPIRE', k_batch_tasks(batch), ttl)
  local total = tonumber(h[1] or 0)
  if not h[4] or not h[5] or tonumber(h[2] or 0) + tonumber(h[3] or 0) < total then return end
  local follower = cjson.decode(h[4])
  call('HDEL', key, 'then')
  local pool = pick({ strategy = 'least_loaded', set = set_of(follower.candidates) }) or follower.fallback
  push(pool, follower.bucket, follower.prefix, follower.suffix)
  call('HSET', k_task(follower.id), 'pool', pool)
  reindex(pool, true)
  ring(pool)
end

local STAT = { completed = 'n_completed', failed = 'n_failed', timeout = 'n_timeout', cancelled = 'n_cancelled', dead = 'n_dead' }

-- Writes the one outcome of a task. o: status, outcome (JSON or ''), meta (JSON or ''), ttl (ms).
-- A completed outcome lives in Celery's result key, any other in the record.
local function settle(id, pool, o, now)
  local key, ttl = k_task(id), math.max(1, math.floor(tonumber(o.ttl)))
  local h = call('HMGET', key, 'client', 'batch', 'idem', 'started')
  call('HSET', key, 'status', o.status, 'finished', stamp(now))
  if o.status ~= 'completed' or o.meta == '' then call('HSET', key, 'outcome', o.outcome) end
  call('HDEL', key, 'retry_at', 'cancel')
  call('PEXPIRE', key, ttl)
  if o.meta ~= '' then
    call('SET', k_meta(id), o.meta, 'PX', ttl)
    call('PUBLISH', k_meta(id), o.meta)
  end
  if h[3] then call('PEXPIRE', k_idem(h[3]), ttl) end
  if call('EXISTS', k_pool(pool)) == 1 then
    call('HINCRBY', k_pool(pool), STAT[o.status], 1)
    if h[4] then
      call('HINCRBYFLOAT', k_pool(pool), 'duration_sum', stamp(now - tonumber(h[4])))
      call('HINCRBY', k_pool(pool), 'duration_count', 1)
    end
    call('LPUSH', k_recent(pool), id)
    call('LTRIM', k_recent(pool), 0, 999)
  end
  if h[1] then call('PUBLISH', k_client(h[1]), id) end
  if h[2] then batch_step(h[2], o.status == 'completed', now, ttl) end
end

-- What tasks need of a node (resources, tags): who has it, who waits for it.

-- Messages that wait for what they need are among the delayed ones, with scores no time reaches: from PARKED on, by bucket, class (equal
-- needs are of one) and turn. The field `parked` of a pool counts their turns; it is there as long as some may wait.
local PARKED = 1e15

-- All functions about it, made when the first task needs something: no other script has to make them.
function needs_kit()
  local CLASSES, TURNS, FIRST_TURN = 10000, 1e10, 5e9

  local function class_start(bucket, class) return PARKED + (tonumber(bucket) * CLASSES + class) * TURNS end

  local function class_of(needs) return tonumber(string.sub(redis.sha1hex(needs), 1, 8), 16) % CLASSES end

  -- The oldest message with a score in a range; nil when there is none.
  local function parked_head(pool, from, to)
    local found = call('ZRANGEBYSCORE', k_delayed(pool), string.format('%.0f', from), '(' .. string.format('%.0f', to), 'WITHSCORES', 'LIMIT', 0, 1)
    if #found == 0 then return nil end
    local at = tonumber(found[2]) - PARKED
    local id, bucket, message = string.match(found[1], '^([^\n]*)\n(%d+)\n()')
    return { value = found[1], id = id, bucket = bucket, message = string.sub(found[1], message), class = math.floor(at / TURNS) % CLASSES,
      turn = at % TURNS }
  end

  -- Has a message wait for what its task needs, behind those that need the same, or before them (first).
  local function park(pool, id, bucket, message, needs, first)
    local start = class_start(bucket, class_of(needs))
    local turn = FIRST_TURN + call('HINCRBY', k_pool(pool), 'parked', 1)
    if first then
      local head = parked_head(pool, start, start + TURNS)
      turn = math.max(0, (head and head.turn or FIRST_TURN) - 1)
    end
    call('ZADD', k_delayed(pool), string.format('%.0f', start + turn), id .. '\n' .. bucket .. '\n' .. message)
    call('HSETNX', k_task(id), 'parked_at', stamp(clock()))
    call('SADD', k_needing(), pool)
  end

  -- The heads of all classes of a bucket; of very many classes, or very large messages, some, others the next time.
  local HEADS_MOST, BYTES_MOST = 64, 4 * 1024 * 1024
  local function parked_heads(pool, bucket, now)
    local heads, first, bytes = {}, math.floor(now * 1000) % CLASSES, 0
    for _, range in ipairs({ { first, CLASSES }, { 0, first } }) do
      local from, to = class_start(bucket, range[1]), class_start(bucket, range[2])
      while #heads < HEADS_MOST and bytes < BYTES_MOST do
        local head = parked_head(pool, from, to)
        if not head then break end
        heads[#heads + 1], bytes = head, bytes + #head.value
        from = class_start(bucket, head.class + 1)
      end
    end
    return heads
  end

  local NEEDS_TTL = 9 * 86400

  -- What a node has (has, tags, devices), and what of it is in use: by claims that are held, so nothing can be counted wrong for long.
  -- `held` is what it keeps for a task that waits. A node that nobody knows has nothing.
  local function stock_of(node)
    local a = cjson.decode(call('HGET', k_nodes(), node) or '{}')
    local s = { node = node, has = a.resources or {}, devices = a.devices or {}, patience = a.patience or 30, tags = {}, used = {}, taken = {} }
    for _, tag in ipairs(a.tags or {}) do s.tags[tag] = true end
    local all = call('HGETALL', k_used(node))
    for i = 1, #all, 2 do
      local lease, number = string.match(all[i], '^(.*):(%d+)$')
      if call('HEXISTS', k_claims(lease), number) == 1 then
        local got = cjson.decode(all[i + 1])
        for name, amount in pairs(got.resources) do s.used[name] = (s.used[name] or 0) + amount end
        for name, ids in pairs(got.devices) do
          s.taken[name] = s.taken[name] or {}
          for _, id in ipairs(ids) do s.taken[name][id] = true end
        end
      else
        call('HDEL', k_used(node), all[i])
      end
    end
    local held = call('GET', k_reserved(node))
    if held then
      held = cjson.decode(held)
      local h, status = call('HMGET', k_task(held.id), 'status', 'pool'), call('HGET', k_pool(held.pool), 'status')
      if (h[1] ~= 'queued' and h[1] ~= 'retrying') or h[2] ~= held.pool or (status ~= 'running' and status ~= 'degraded' and status ~= 'draining') then
        call('DEL', k_reserved(node))
      elseif clock() < held.ends then
        s.held = held
      else
        s.in_vain = held
      end
    end
    return s
  end

  -- Whether a node could ever run something that needs this.
  local function suits(s, needs)
    for _, tag in ipairs(needs.tags or {}) do
      if not s.tags[tag] then return false end
    end
    for name, amount in pairs(needs.resources or {}) do
      if amount > (s.has[name] or 0) then return false end
    end
    return true
  end

  -- Whether something is kept for the tasks of a pool with these needs (JSON): it is for whichever of them comes first.
  local function is_theirs(kept, pool, text) return kept and kept.pool == pool and kept.needs == text end

  -- What is free of a resource for tasks of a pool with these needs; what is kept for others is not. Sums of fractions are not exact: hence
  -- the little more.
  local function free_of(s, name, pool, text)
    local kept = s.held and not is_theirs(s.held, pool, text) and (s.held.resources or {})[name] or 0
    return (s.has[name] or 0) * (1 + 1e-9) - (s.used[name] or 0) - kept
  end

  -- Whether a task of a pool can start there now.
  local function fits(s, pool, text, needs)
    if not suits(s, needs) then return false end
    for name, amount in pairs(needs.resources or {}) do
      if amount > free_of(s, name, pool, text) then return false end
    end
    return true
  end

  -- Chooses the numbers of devices, the first free ones.
  local function devices_for(s, needs)
    local chosen = {}
    for name, ids in pairs(s.devices) do
      local amount, some = (needs.resources or {})[name] or 0, {}
      for _, id in ipairs(ids) do
        if #some < amount and not (s.taken[name] and s.taken[name][id]) then some[#some + 1] = id end
      end
      if #some > 0 then chosen[name] = some end
    end
    return chosen
  end

  -- Gives a claim of a pool's task what it needs, and returns it as JSON.
  local function give(s, pool, id, own, asked)
    local needs = cjson.decode(asked)
    local got = { node = s.node, resources = needs.resources or {}, devices = devices_for(s, needs) }
    for name, amount in pairs(got.resources) do s.used[name] = (s.used[name] or 0) + amount end
    for name, ids in pairs(got.devices) do
      s.taken[name] = s.taken[name] or {}
      for _, one in ipairs(ids) do s.taken[name][one] = true end
    end
    local text = cjson.encode(got)
    call('HSET', k_used(s.node), own, text)
    call('EXPIRE', k_used(s.node), NEEDS_TTL)
    call('HSET', k_task(id), 'got', text)
    call('HDEL', k_task(id), 'parked_at')
    if is_theirs(s.held or s.in_vain, pool, asked) then
      call('DEL', k_reserved(s.node))
      s.held, s.in_vain = nil, nil
    end
    return text
  end

  -- Seconds for which a node keeps what gets free for one task. If that was in vain, others have their turn as long.
  local KEEP = 600

  -- Keeps what gets free on a node for a task that has been overtaken for long, unless it keeps something already.
  local function keep_for(s, id, pool, text, needs, now)
    if s.held or not suits(s, needs) or is_theirs(s.in_vain, pool, text) then return end
    local since = call('HGET', k_task(id), 'parked_at')
    if not since or now - tonumber(since) < s.patience then return end
    s.held, s.in_vain = { id = id, pool = pool, needs = text, resources = needs.resources or {}, ends = now + KEEP }, nil
    call('SET', k_reserved(s.node), cjson.encode(s.held), 'EX', 2 * KEEP)
  end

  -- Something on a node is free again: pools that have tasks waiting for it look.
  local function freed(node)
    for _, pool in ipairs(call('SMEMBERS', k_needing())) do
      if call('HEXISTS', k_groups(pool), node) == 1 then ring(pool) end
    end
  end

  -- Takes back what a claim got (JSON).
  local function take_back(own, got)
    local good, g = pcall(cjson.decode, got)
    if good and type(g) == 'table' and type(g.node) == 'string' and call('HDEL', k_used(g.node), own) == 1 then freed(g.node) end
  end

  return { class_start = class_start, parked_head = parked_head, parked_heads = parked_heads, park = park, stock_of = stock_of, suits = suits,
    free_of = free_of, fits = fits, give = give, keep_for = keep_for, take_back = take_back }
end

-- Functions about the room that pools have for tasks with needs.
function rooms_kit()
  local kit = needs_kit()

  -- How many more tasks with the needs of o a pool can start now, on its living nodes with workers that are idle; counted once a script,
  -- placed ones are taken off.
  local function room_of(o, pool)
    o.rooms = o.rooms or {}
    if o.rooms[pool] then return o.rooms[pool] end
    local needs, room = cjson.decode(o.needs), 0
    for _, node in ipairs(call('HKEYS', k_groups(pool))) do
      local s = call('EXISTS', k_node(node)) == 1 and kit.stock_of(node)
      if s and kit.suits(s, needs) then
        local most = 1000
        for name, amount in pairs(needs.resources or {}) do most = math.min(most, math.max(0, math.floor(kit.free_of(s, name, pool, o.needs) / amount))) end
        room = room + most
      end
    end
    local idle = (tonumber(call('HGET', k_pool(pool), 'workers')) or 0) - running_of(pool) - queued_of(pool)
    o.rooms[pool] = math.max(0, math.min(room, idle))
    return o.rooms[pool]
  end

  -- The least loaded candidate that is healthy and can start it now, else the least loaded one.
  local function roomy(o)
    local with_room = setmetatable({}, { __index = function(_, id)
      return (not o.set or o.set[id]) and room_of(o, id) > 0 and call('HGET', k_pool(id), 'status') == 'running'
    end })
    local found = not o.full and indexed(with_room, false)
    if not found then
      o.full = true
      return indexed(o.set, false)
    end
    o.rooms[found] = o.rooms[found] - 1
    return found
  end

  return { room_of = room_of, roomy = roomy }
end

-- Routes, records and pushes tasks: all of one call or none. Repeating a call with the same task ids changes nothing.
-- ARGV: 2 options (JSON), then 8 per task: id, type, spec, bucket, prefix, suffix, idempotency key or '', more (JSON or '')
local o, refused = options(ARGV[2])
if refused then return refused end
local now = clock()
local ENDED_BATCH_TTL = 86400

local count = (#ARGV - 2) / 8
local reply, touched = { 'ok' }, {}
local routed = {}
-- What pools have to do by now, where it was looked up.
local totals = {}
-- What a task comes after must be known: a task of this call before it, or one that has a record. Those that are known already are left
-- alone.
local function stranger()
  local own = {}
  for i = 0, count - 1 do
    local id, idem, more = ARGV[3 + i * 8], ARGV[9 + i * 8], ARGV[10 + i * 8]
    if more ~= '' and call('EXISTS', k_task(id)) == 0 and not (idem ~= '' and call('GET', k_idem(idem))) then
      local after = cjson.decode(more).after
      for _, parent in ipairs(after and after.ids or {}) do
        if not own[parent] and call('EXISTS', k_task(parent)) == 0 then return parent end
      end
    end
    own[id] = true
  end
end

if o.linked then
  local parent = stranger()
  if parent then return { 'parent', parent } end
end

-- A run of a schedule whose runs are not to overlap. Returns the run before it, when that has not ended and was not asked to for this
-- one; else this one is the last run from now on. A planned one that is left out stays so, whoever asks.
local function run_before(turn, id, idem)
  local key = k_schedule(turn.schedule)
  if call('EXISTS', key) == 0 or call('EXISTS', k_task(id)) == 1 or call('EXISTS', k_idem(idem)) == 1 then return end
  local h = call('HMGET', key, 'last', 'left_out')
  local status = h[1] and h[1] ~= turn.over and call('HGET', k_task(h[1]), 'status')
  if not (status and not STAT[status] or h[1] and h[2] == idem) then
    call('HSET', key, 'last', id)
    return
  end
  if turn.skip then call('HSET', key, 'left_out', idem) end
  return h[1]
end

if o.turn then
  local before = run_before(o.turn, ARGV[3], ARGV[9])
  if before then return { 'overlap', before } end
end

if o.batch and call('EXISTS', k_batch(o.batch)) == 0 then
  call('HSET', k_batch(o.batch), 'total', 0, 'successful', 0, 'failed', 0, 'created', stamp(now))
  if o.contest then open_contest(o, now) end
elseif o.contest then
  return known_contest(o.batch)
end

-- A task that was known by its key is a member too: one that has ended counts at once, one that has not `also` tells this batch.
-- Of this batch it is a member already when the call is repeated (then it is among the last ones), or all the calls that made the batch.
local function join(id)
  local h = call('HMGET', k_task(id), 'status', 'also', 'batch')
  if h[3] == o.batch or string.find(' ' .. (h[2] or '') .. ' ', ' ' .. o.batch .. ' ', 1, true) then return end
  if call('LPOS', k_batch_tasks(o.batch), id, 'RANK', -1, 'MAXLEN', count) then return end
  call('RPUSH', k_batch_tasks(o.batch), id)
  call('HINCRBY', k_batch(o.batch), 'total', 1)
  if STAT[h[1]] then call('HINCRBY', k_batch(o.batch), h[1] == 'completed' and 'successful' or 'failed', 1) end
  -- One that is dead may be brought to life again.
  if not STAT[h[1]] or h[1] == 'dead' then call('HSET', k_task(id), 'also', (h[2] and h[2] .. ' ' or '') .. o.batch) end
end

-- Who delegated it (JSON without line ends) gets the outcome of a task that was known already, unless it has that.
local function ask(id, by)
  local h = call('HMGET', k_task(id), 'status', 'delegated')
  if not by or STAT[h[1]] or string.find('\n' .. (h[2] or '') .. '\n', '\n' .. by .. '\n', 1, true) then return end
  call('HSET', k_task(id), 'delegated', h[2] and h[2] .. '\n' .. by or by)
end

-- A task that comes after others: its message is kept apart until they have ended, and its pool is chosen again then.
local twins, ended = {}, {}
local function wait_for(id, after, message)
  local known, ids, fields = {}, {}, {}
  for _, given in ipairs(after.ids) do
    local parent = twins[given] or given
    if not known[parent] and parent ~= id then
      known[parent] = true
      ids[#ids + 1] = parent
      fields[#fields + 1], fields[#fields + 2] = 'p:' .. parent, ''
      call('ZADD', k_children(parent), next_turn(), id)
      local status = call('HGET', k_task(parent), 'status')
      if STAT[status] then ended[parent] = status else call('HSET', k_task(parent), 'children', '1') end
    end
  end
  call('HSET', k_task(id), 'status', 'waiting', 'after', table.concat(ids, ' '), 'waits', #ids, 'on_parent', after.policy, unpack(fields))
  call('HSET', k_held(id), unpack(message))
  call('ZADD', k_waiting(), stamp(now), id)
end

for i = 0, count - 1 do
  local at = 3 + i * 8
  local id, kind, spec, bucket, prefix, suffix, idem, more =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local known = call('HGET', k_task(id), 'pool')
  if not known and idem ~= '' then
    local twin = call('GET', k_idem(idem))
    if twin then
      known = call('HGET', k_task(twin), 'pool')
      if known then
        twins[id] = twin
        id = twin
        if o.batch then join(id) end
      end
    end
  end
  if known then
    if more ~= '' then ask(id, cjson.decode(more).delegated) end
    reply[#reply + 1] = { id, known, '0' }
  else
    if o.targets then o.pool = o.targets[i + 1] end
    local pool = pick(o)
    local record = { 'status', 'queued', 'pool', pool, 'type', kind, 'created', stamp(now), 'bucket', bucket, 'attempts', '0' }
    local function field(name, value) record[#record + 1] = name; record[#record + 1] = value end
    if spec ~= '' then field('spec', spec) end
    if o.client then field('client', o.client) end
    if o.batch then field('batch', o.batch) end
    if o.strategy == 'affinity' then field('affinity', o.affinity) end
    if o.filters then field('filters', o.filters) end
    if idem ~= '' then field('idem', idem); call('SET', k_idem(idem), id) end
    local gate, after
    if more ~= '' then
      local m = cjson.decode(more)
      gate, after = m.approval, m.after
      if m.name then field('name', m.name) end
      if m.expires and not gate and not after then field('expires_at', stamp(now + m.expires)) end
      if m.lost then field('lost', m.lost) end
      if m.needs then field('needs', m.needs) end
      if m.delegated then field('delegated', m.delegated) end
    end
    if o.explain and not after then field('routing', explained(o, pool, now)) end
    call('HSET', k_task(id), unpack(record))
    if o.batch then
      call('RPUSH', k_batch_tasks(o.batch), id)
      call('HINCRBY', k_batch(o.batch), 'total', 1)
    end
    local message = (gate or after) and { 'prefix', prefix, 'suffix', suffix, 'bucket', bucket, 'more', more }
    if after then
      wait_for(id, after, message)
    elseif gate then
      hold(id, kind, pool, message, gate.timeout, now)
    else
      push(pool, bucket, prefix, suffix)
      touched[pool] = true
      routed[pool] = (routed[pool] or 0) + 1
      -- Only the strategy that reads the load index needs it fresh between two tasks of one call.
      if o.strategy == 'least_loaded' then totals[pool] = reindex(pool, true, totals[pool] and totals[pool] + 1) end
    end
    reply[#reply + 1] = { id, pool, after and '3' or gate and '2' or '1' }
  end
end
if o.batch then
  -- With outcomes to come it stays; one whose tasks have all ended gets its lifetime here, and the proper one when it is sealed.
  local h = call('HMGET', k_batch(o.batch), 'total', 'successful', 'failed')
  local over = tonumber(h[2]) + tonumber(h[3]) >= tonumber(h[1])
  for _, key in ipairs({ k_batch(o.batch), k_batch_tasks(o.batch) }) do
    if not over then call('PERSIST', key) elseif call('TTL', key) == -1 then call('EXPIRE', key, ENDED_BATCH_TTL) end
  end
end
for pool in pairs(touched) do
  if o.strategy ~= 'least_loaded' then reindex(pool, false) end
  ring(pool)
end
for parent, status in pairs(ended) do end_parent(parent, status) end
if o.counted then
  for pool, number in pairs(routed) do call('HINCRBY', k_figures(pool), 'r\n' .. o.counted, number) end
end
return reply

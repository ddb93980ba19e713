-- Puts tasks that wait for nothing any more on queues, or has them await their approval. ARGV: 2 options (JSON, as of submit), then tasks
-- Reply: 'ok' and how many; or why they cannot be routed, as of submit
local o, refused = options(ARGV[2])
if refused then return refused end
even_when_full()
local now, done, touched = clock(), 0, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local key = k_task(id)
  local h = call('HMGET', key, 'status', 'waits', 'type', 'created')
  local m = call('HMGET', k_held(id), 'prefix', 'suffix', 'bucket', 'more')
  if h[1] == 'waiting' and h[2] == '0' and m[4] then
    local more, pool = cjson.decode(m[4]), pick(o)
    unwait(id)
    -- Its wait in the queue begins now.
    call('HSET', key, 'status', 'queued', 'pool', pool, 'submitted', h[4], 'created', stamp(now))
    call('HDEL', key, 'held_up')
    if o.explain then call('HSET', key, 'routing', explained(o, pool, now)) end
    if o.strategy == 'affinity' then call('HSET', key, 'affinity', o.affinity) end
    if more.approval then
      hold(id, h[3], pool, { 'prefix', m[1], 'suffix', m[2], 'bucket', m[3], 'more', m[4] }, more.approval.timeout, now)
    else
      if more.expires then call('HSET', key, 'expires_at', stamp(now + more.expires)) end
      push(pool, m[3], m[1], m[2])
      touched[pool] = true
      if o.strategy == 'least_loaded' then reindex(pool, true) end
    end
    done = done + 1
  end
end
for pool in pairs(touched) do
  if o.strategy ~= 'least_loaded' then reindex(pool, false) end
  ring(pool)
end
return { 'ok', done }

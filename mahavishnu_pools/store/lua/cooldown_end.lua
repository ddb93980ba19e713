-- Ends the cool-down of a worker type, and lets the tasks of a pool that wait for its end be looked at now.
-- ARGV: 2 worker type, 3 the end it had, as it was read (epoch seconds), 4 pool or '' for the cool-down itself. Reply: tasks set free
local MOST = 500
if ARGV[4] == '' then
  even_when_full()
  local old = call('HGET', k_cooldowns(), ARGV[2])
  local e = old and cjson.decode(old)
  if e and not e.noted then
    event('cool_down_ended', e.id or '', e.pool, 'worker_type', ARGV[2], 'ends', stamp(e.ends), 'reason', 'it was ended by hand')
  end
  return call('HDEL', k_cooldowns(), ARGV[2])
end
local ends, now, pool = tonumber(ARGV[3]), clock(), ARGV[4]
-- They were put there in the order of their queue, within a millisecond.
local waiting = call('ZRANGEBYSCORE', k_delayed(pool), ARGV[3], stamp(ends + 0.001), 'LIMIT', 0, MOST)
for i, value in ipairs(waiting) do call('ZADD', k_delayed(pool), stamp(now - 1 + i / 1000000), value) end
if #waiting > 0 then ring(pool) end
return #waiting

-- Ends the cool-down of a worker type, and lets the tasks of a pool that wait for its end be looked at now.
-- ARGV: 2 worker type, of one that rests on a node with a line end and the node behind it, 3 the end it had, as it was read (epoch seconds), 4 pool or '' for the cool-down itself. Reply: tasks set free
local MOST = 500
if ARGV[4] == '' then
  even_when_full()
  local old = call('HGET', k_cooldowns(), ARGV[2])
  local e = old and cjson.decode(old)
  if e and not e.noted then
    local kind, node = string.match(ARGV[2], '^([^\n]*)\n?(.*)$')
    local why = node == '' and { 'it was ended by hand' } or { 'there may be a login now', 'node', node }
    event('cool_down_ended', e.id or '', e.pool, 'worker_type', kind, 'ends', stamp(e.ends), 'reason', unpack(why))
  end
  return call('HDEL', k_cooldowns(), ARGV[2])
end
local ends, now, pool = tonumber(ARGV[3]), clock(), ARGV[4]
-- They were put there in the order of their queue, within a millisecond.
local waiting = call('ZRANGEBYSCORE', k_delayed(pool), ARGV[3], stamp(ends + 0.001), 'LIMIT', 0, MOST)
for i, value in ipairs(waiting) do call('ZADD', k_delayed(pool), stamp(now - 1 + i / 1000000), value) end
if #waiting > 0 then ring(pool) end
return #waiting

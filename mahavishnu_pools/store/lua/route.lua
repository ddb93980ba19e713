-- Chooses one pool without submitting, for plain Celery calls whose message is pushed in a second step.
-- ARGV: 2 options (JSON), as in submit
local o = cjson.decode(ARGV[2])
local version = tonumber(call('GET', k_registry()) or 0)
if o.version and o.version ~= version then return { 'stale', version } end
o.set = set_of(o.candidates)
local pool = pick(o)
if not pool then return { 'none' } end
if o.strategy == 'least_loaded' then
  -- Until the message arrives the choice counts as one task, or producers at the same time would all choose this pool.
  reindex(pool, true)
  local h = call('HMGET', k_pool(pool), 'member', 'workers')
  call('ZINCRBY', k_load(), 1 / math.max(1, tonumber(h[2]) or 1), h[1])
end
call('HINCRBY', k_routed(), o.strategy, 1)
return { 'ok', pool }

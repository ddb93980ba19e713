-- Chooses one pool without submitting, for plain Celery calls whose message is pushed in a second step.
-- ARGV: 2 options (JSON), as in submit
local o, refused = options(ARGV[2])
if refused then return refused end
local pool = pick(o)
if o.strategy == 'least_loaded' then
  -- Until the message arrives the choice counts as one task, or producers at the same time would all choose this pool.
  reindex(pool, true)
  local h = call('HMGET', k_pool(pool), 'member', 'workers')
  call('ZINCRBY', k_load(), 1 / math.max(1, tonumber(h[2]) or 1), h[1])
end
count_figure(pool, 'r\n' .. (o.counted or o.strategy), 1)
return { 'ok', pool }

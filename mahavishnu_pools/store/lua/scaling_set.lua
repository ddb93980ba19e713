-- Gives a pool another number of workers, if this node scales it and nobody changed the number since it was looked at. The limits that
-- it was chosen within may be others by now.
-- ARGV: 2 pool, 3 node, 4 workers it had, 5 workers it is to have, 6 why. Reply: 1 done (or done before), 0 not
local pool, node = ARGV[2], ARGV[3]
local h = call('HMGET', k_pool(pool), 'status', 'workers', 'scaled_because', 'config')
if h[2] == ARGV[5] and h[3] == ARGV[6] then return 1 end
if h[1] ~= 'running' and h[1] ~= 'degraded' then return 0 end
if h[2] ~= ARGV[4] or call('GET', k_scaler(pool)) ~= node then return 0 end
local config, wanted = cjson.decode(h[4]), tonumber(ARGV[5])
if wanted < config.min_workers or wanted > config.max_workers then return 0 end
even_when_full()
call('HSET', k_pool(pool), 'workers', ARGV[5], 'scaled_because', ARGV[6], 'scaled_at', stamp(clock()))
call('HDEL', k_pool(pool), 'chosen_at')
note_scaling(pool, h[2], ARGV[5], 'auto', ARGV[6])
reindex(pool, false)
changed(pool)
ring(pool)
return 1

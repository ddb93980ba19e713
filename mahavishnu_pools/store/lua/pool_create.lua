-- Registers a pool. ARGV: 2 id, 3 name, 4 type, 5 config JSON, 6 workers, 7 preferred node or ''
-- Reply: {'created'} or {'exists', id, config JSON}
local id, name = ARGV[2], ARGV[3]
local existing = call('HGET', k_pool_names(), name)
if existing then return { 'exists', existing, call('HGET', k_pool(existing), 'config') } end
call('DEL', k_gone(name))
call('HSET', k_pool_names(), name, id)
call('HSET', k_pool(id), 'name', name, 'type', ARGV[4], 'config', ARGV[5], 'workers', ARGV[6], 'status', 'initializing',
  'created', stamp(clock()), 'prefer', ARGV[7])
local limit = cjson.decode(ARGV[5]).rate_limit
local n, unit = string.match(type(limit) == 'string' and limit or '', '^([%d.]+)/([smh])$')
if n then call('HSET', k_pool(id), 'rate', string.format('%.9g', tonumber(n) / ({ s = 1, m = 60, h = 3600 })[unit])) end
local turn = next_turn()
call('ZADD', k_pools(), turn, id)
call('ZADD', k_turns(), turn, id)
call('ZADD', k_affinity_turns(), turn, id)
changed(id)
event('pool_created', id, name, 'pool_type', ARGV[4], 'workers', ARGV[6])
tell('pool_created', id, { name = name, pool_type = ARGV[4], workers = tonumber(ARGV[6]) }, clock())
return { 'created' }

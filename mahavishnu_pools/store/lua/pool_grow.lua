-- Gives a pool so many workers more (or fewer), within its limits. ARGV: 2 number of the request, 3 pool, 4 how many
-- Reply: {'ok', workers} or {'unknown'} or {'limits', workers it would have, least, most}
local id, change = ARGV[3], tonumber(ARGV[4])
local done = call('GET', k_grown(ARGV[2]))
if done then return { 'ok', tonumber(done) } end
local h = call('HMGET', k_pool(id), 'workers', 'config')
if not h[2] then return { 'unknown' } end
local config, workers = cjson.decode(h[2]), tonumber(h[1]) + change
if workers < config.min_workers or workers > config.max_workers then
  return { 'limits', workers, config.min_workers, config.max_workers }
end
even_when_full()
call('HSET', k_pool(id), 'workers', workers, 'chosen_at', stamp(clock()))
note_scaling(id, h[1], tostring(workers), 'hand', '')
reindex(id, false)
changed(id)
ring(id)
call('SET', k_grown(ARGV[2]), workers, 'EX', 60)
return { 'ok', workers }
